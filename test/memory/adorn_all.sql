-- From here on every CREATE EXTENSION credits is followed by t.adorn (sql/setup.sql)
-- with what the setting t.adorn names; what would be in the way of DROP EXTENSION
-- goes before.
CREATE FUNCTION t.adorn_created() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM t.adorn('credits', string_to_array(current_setting('t.adorn'), ','))
       FROM pg_event_trigger_ddl_commands() c WHERE c.object_type = 'extension' AND c.object_identity = 'credits';
END $$;
CREATE FUNCTION t.unadorn_dropped() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN CALL t.unadorn(); END';
CREATE EVENT TRIGGER adorn_created ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION t.adorn_created();
CREATE EVENT TRIGGER unadorn_dropped ON ddl_command_start WHEN TAG IN ('DROP EXTENSION') EXECUTE FUNCTION t.unadorn_dropped();
