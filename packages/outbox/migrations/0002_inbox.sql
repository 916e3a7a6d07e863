-- Which messages had their effect: one row is written in the transaction of each effect.
create table inbox (
  source text not null,
  message_id text not null,
  handled_at timestamptz not null default now(),
  primary key (source, message_id)
);

create index inbox_by_handled_at on inbox (handled_at);
