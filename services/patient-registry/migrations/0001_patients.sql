create table patient (
  patient_id uuid primary key,
  given text not null,
  surname text not null,
  birth_date date,
  registered_at timestamptz not null
);

-- One effect per key, whichever replica gets the request and however often. Written before the patient, so that a second
-- transaction under the same key waits here; hence the deferred reference.
create table idempotency_key (
  key text primary key,
  person_hash text not null,
  patient_id uuid not null references patient deferrable initially deferred,
  expires_at timestamptz not null
);
create index idempotency_key_expires_at on idempotency_key (expires_at);
