#!/usr/bin/env node
// Stands in for Prisma's schema engine, whose binary is downloaded from a host
// that a test need not reach: the same engine, as WebAssembly from npm, behind the
// command line and the JSON-RPC of the binary.  Prisma's CLI starts it when
// PRISMA_SCHEMA_ENGINE_BINARY names it.
//
// The WebAssembly talks to the database through Prisma's adapter for pg.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import pg from 'pg';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';

const require = createRequire(import.meta.url);

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
  const database = new URL(url).pathname.slice(1);
  const admin = new URL(url);
  if (name === 'create-database') admin.pathname = '/postgres';
  const client = new pg.Client({ connectionString: admin.href });
  try {
    await client.connect();
    if (name === 'create-database')
      await client.query(`CREATE DATABASE ${pg.escapeIdentifier(decodeURIComponent(database))}`);
  } catch (err) {
    fail(err.code === '3D000' ? 'P1003' : 'P1001', err.message);
  } finally {
    await client.end().catch(() => {});
  }
}

// The engine reads catalog columns of the type "char", which the adapter does not
// know; as text it does.
const CHAR = 18, TEXT = 25;
function charAsText(connection) {
  const performIO = connection.performIO.bind(connection);
  connection.performIO = async (query) => {
    const result = await performIO(query);
    for (const field of result.fields ?? [])
      if (field.dataTypeID === CHAR) field.dataTypeID = TEXT;
    return result;
  };
  return connection;
}

class Adapter extends PrismaPg {
  connect = async () => charAsText(await super.connect());
  connectToShadowDb = async () => charAsText(await super.connectToShadowDb());
}

async function serve(url, datamodels) {
  const engine = await loadEngine();
  const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');
  const adapter = bindMigrationAwareSqlAdapterFactory(new Adapter({ connectionString: url }));
  const instance = await engine.SchemaEngine.new(
    { datamodels: datamodels.map((file) => [file, readFileSync(file, 'utf8')]) }, () => {}, adapter);

  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params } = JSON.parse(line);
    if (process.env.SHIM_LOG) process.stderr.write(line + '\n');
    try {
      const result = await instance[method === 'getDatabaseVersion' ? 'version' : method](params);
      send({ id, result: result ?? null });
    } catch (err) {
      send({ id, error: { code: 4466, message: 'An error happened. Check the data field for details.',
        data: { is_panic: false, message: err.message, error_code: err.code, meta: err.meta ?? null } } });
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
process.exit(0);
