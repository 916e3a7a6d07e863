-- One appointment per patient, one patient per slot: held here, whatever two replicas do at once.
create table appointment (
  patient_id uuid primary key,
  starts_at timestamptz not null unique,
  ends_at timestamptz not null check (ends_at > starts_at)
);
