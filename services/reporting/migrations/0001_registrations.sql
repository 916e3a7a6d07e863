-- What the report counts, and no more: neither names nor birth dates are kept.
create table registration (
  patient_id uuid primary key,
  day date not null,
  age_band text not null check (age_band in ('0-17', '18-39', '40-64', '65+', 'unknown'))
);

create index registration_by_day on registration (day, age_band);
