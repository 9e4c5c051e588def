#!/usr/bin/env node
// Stands in for Prisma's schema engine, whose binary is downloaded from a host
// that a test need not reach: the same engine, as WebAssembly from npm, behind the
// command line and the JSON-RPC of the binary.  Prisma's CLI starts it when
// PRISMA_SCHEMA_ENGINE_BINARY names it.
//
// The WebAssembly talks to the database through Prisma's adapter for pg.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import pg from 'pg';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils';

const require = createRequire(import.meta.url);

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const refuse = (id, message, code, meta = null) => send({ id, error: {
  code: 4466, message: 'An error happened. Check the data field for details.',
  data: { is_panic: false, message, error_code: code, meta },
} });

// A panic of the engine fails the request: without an answer the CLI would end
// as if all were well.
let pending;
globalThis.PRISMA_WASM_PANIC_REGISTRY = {
  set_message(message) {
    refuse(pending, message);
    process.exitCode = 101;
  },
};

async function loadEngine() {
  const background = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  const path = require.resolve('@prisma/schema-engine-wasm/schema_engine_bg')
    .replace(/schema_engine_bg\.js$/, 'schema_engine_bg.wasm');
  const { instance } = await WebAssembly.instantiate(readFileSync(path),
    { './schema_engine_bg.js': background });
  background.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  return background;
}

// What the binary writes to stderr when it fails.
function fail(code, message) {
  process.stderr.write(JSON.stringify({
    level: 'ERROR', target: 'schema_engine::logger', fields: { error_code: code, message },
  }) + '\n');
  process.exit(1);
}

// schema-engine --datasource JSON cli COMMAND: is the database there; make it.
async function command(name, url) {
  const config = configOf(url);
  const create = name === 'create-database';
  const client = new pg.Client(create ? { ...config, database: 'postgres' } : config);
  try {
    await client.connect();
    if (create) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(config.database)}`);
  } catch (err) {
    fail(err.code === '3D000' ? 'P1003' : 'P1001', err.message);
  } finally {
    await client.end().catch(() => {});
  }
}

// The engine reads catalog columns of the type "char", which the adapter does not
// know.  As the binary gets them, they are characters, and NUL when empty.
const CHAR = 18, TEXT = 25;
function withChar(connection) {
  const performIO = connection.performIO.bind(connection);
  const queryRaw = connection.queryRaw.bind(connection);
  const found = new WeakMap();

  connection.performIO = async (query) => {
    const result = await performIO(query);
    const chars = (result.fields ?? []).flatMap((field, i) => field.dataTypeID === CHAR ? [i] : []);
    found.set(query, chars);
    for (const i of chars) {
      result.fields[i].dataTypeID = TEXT;
      for (const row of result.rows)
        if (row[i] === '') row[i] = '\0';
    }
    return result;
  };
  connection.queryRaw = async (query) => {
    const result = await queryRaw(query);
    for (const i of found.get(query)) result.columnTypes[i] = ColumnTypeEnum.Character;
    return result;
  };
  return connection;
}

function configOf(url) {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    host: hostname, port: Number(port), user: decodeURIComponent(username),
    password: decodeURIComponent(password), database: decodeURIComponent(pathname.slice(1)),
  };
}

// Prisma's adapter, on its way to a shadow database, drops it while it is still
// connected to it.  The binary makes it in this way too: as a copy of template1.
class Adapter extends PrismaPg {
  constructor(config) {
    super(config);
    this.pgConfig = config;
  }

  async connect() {
    return withChar(await super.connect());
  }

  async connectToShadowDb() {
    const database = `prisma_migrate_shadow_db_${randomUUID()}`;
    const main = await this.connect();
    await main.executeScript(`CREATE DATABASE "${database}"`);
    const shadow = await new Adapter({ ...this.pgConfig, database }).connect();
    const dispose = shadow.dispose.bind(shadow);
    shadow.dispose = async () => {
      await dispose();
      await main.executeScript(`DROP DATABASE "${database}"`);
      await main.dispose();
    };
    return shadow;
  }
}

// Answers one request a line.  What asks for the schema that the migrations make
// gets it from what devDiagnostic kept: by itself it has no shadow database.
async function serve(url, datamodels) {
  const { SchemaEngine } = await loadEngine();
  const files = datamodels.map((file) => [file, readFileSync(file, 'utf8')]);
  const adapter = bindMigrationAwareSqlAdapterFactory(new Adapter(configOf(url)));
  const engine = await SchemaEngine.new({ datamodels: files.length ? files : undefined }, () => {}, adapter);

  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params } = JSON.parse(line);
    if (method === undefined) continue;   // the answer to "print"
    pending = id;
    try {
      if (['evaluateDataLoss', 'createMigration'].includes(method))
        await engine.devDiagnostic({ migrationsList: params.migrationsList, filters: params.filters });
      const result = await engine[method === 'getDatabaseVersion' ? 'version' : method](params);
      if (result?.stdout) send({ id, method: 'print', params: { content: result.stdout } });
      send({ id, result: result ?? null });
    } catch (err) {
      refuse(id, err.message, err.code, err.meta);
    }
  }
}

const args = process.argv.slice(2);
const value = (name) => args.flatMap((arg, i) => arg === name ? [args[i + 1]] : []);
const url = value('--datasource').map((json) => JSON.parse(json).url)[0];

if (args[0] === '--version')
  console.log('schema-engine-cli wasm');
else if (args.includes('cli'))
  await command(args.at(-1), url);
else
  await serve(url, value('--datamodels'));
process.exit();
