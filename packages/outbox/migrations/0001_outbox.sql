-- What a transaction said and the relay has not sent yet. A row goes when the broker has confirmed it.
create table outbox (
  id bigint generated always as identity primary key,
  key text not null,
  topic text not null,
  message_id uuid not null,
  message json not null,
  added_at timestamptz not null default now()
);

create index outbox_by_key on outbox (key, id);

-- Whoever adds under a key holds it until the end of the transaction, and takes the number after that: so the numbers of
-- one key are in the order of its commits, and no lower one shows up after a higher one.
create function outbox_add(key text, topic text, message_id uuid, message json) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('outbox add ' || current_schema() || ' ' || key, 0));
  insert into outbox (key, topic, message_id, message) values (key, topic, message_id, message);
  -- Arrives when the transaction has committed, once however often it is said
  perform pg_notify('outbox ' || current_schema(), '');
end $$;
