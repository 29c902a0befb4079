-- Answers that stream have two entries: an intent before the first byte, an outcome after the last. Here is which intents wait for their outcome, and whose they are.

CREATE TABLE concordat.process_leases (
  process    uuid        PRIMARY KEY,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE concordat.process_leases IS 'Processes with open intents, and how long they are taken to be alive unless they renew; by the clock of this database.';

CREATE TABLE concordat.open_intents (
  ledger   text   COLLATE "C" NOT NULL,
  entry_id uuid   NOT NULL,
  "index"  bigint NOT NULL,
  process  uuid   NOT NULL,
  PRIMARY KEY (ledger, entry_id)
);
COMMENT ON TABLE concordat.open_intents IS 'Intents without an outcome. Added and removed in the transaction that adds the intent and its outcome, so that each gets exactly one.';
