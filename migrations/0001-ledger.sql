-- The ledgers of all organizations, one Merkle tree each (RFC 6962), and the policy epoch that guards them.
--
-- Entries and subtrees are only ever added. The gateway's role gets no more than that (see the grants that `migrate` makes); the triggers keep even the owner
-- of the tables from a slip. Against somebody who sets the triggers aside there are the checkpoints, whose last one is also kept outside of this database.

CREATE TABLE concordat.ledger_entries (
  ledger    text        COLLATE "C" NOT NULL,
  "index"   bigint      NOT NULL CHECK ("index" >= 0),
  entry_id  uuid        NOT NULL,
  at        timestamptz NOT NULL,
  kind      text        NOT NULL,
  subject   text        NOT NULL,
  purpose   text,
  leaf      text        NOT NULL,
  leaf_hash bytea       NOT NULL CHECK (octet_length(leaf_hash) = 32),
  salt      bytea       NOT NULL,
  PRIMARY KEY (ledger, "index")
);
COMMENT ON TABLE concordat.ledger_entries IS 'Leaves. The columns at, kind, subject and purpose repeat what the leaf says, for searching; proofs cover the leaf alone.';
COMMENT ON COLUMN concordat.ledger_entries.leaf IS 'Canonical JSON (RFC 8785); leaf_hash is SHA-256 over a zero byte and its UTF-8.';
COMMENT ON COLUMN concordat.ledger_entries.salt IS 'Key of the HMACs in the leaf.';
CREATE INDEX ledger_entries_at ON concordat.ledger_entries USING brin (at);

CREATE TABLE concordat.ledger_subtrees (
  ledger  text     COLLATE "C" NOT NULL,
  level   smallint NOT NULL CHECK (level > 0 AND level % 8 = 0),
  "index" bigint   NOT NULL CHECK ("index" >= 0),
  hash    bytea    NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (ledger, level, "index")
);
COMMENT ON TABLE concordat.ledger_subtrees IS 'Roots of whole subtrees, every eighth level: a proof reads at most 256 hashes a level stored.';

CREATE TABLE concordat.ledger_state (
  ledger   text   COLLATE "C" PRIMARY KEY,
  size     bigint NOT NULL CHECK (size >= 0),
  frontier bytea  NOT NULL
) WITH (fillfactor = 20);
COMMENT ON TABLE concordat.ledger_state IS 'Size of each tree and the roots of its largest whole subtrees; changed in the transaction that adds entries.';

CREATE TABLE concordat.ledger_checkpoints (
  ledger text        COLLATE "C" PRIMARY KEY,
  size   bigint      NOT NULL CHECK (size >= 0),
  note   text        NOT NULL,
  at     timestamptz NOT NULL
) WITH (fillfactor = 20);
COMMENT ON TABLE concordat.ledger_checkpoints IS 'The last signed checkpoint of each ledger (c2sp.org/tlog-checkpoint).';

CREATE TABLE concordat.policy_epoch (
  one    boolean PRIMARY KEY DEFAULT true CHECK (one),
  epoch  bigint  NOT NULL,
  digest text    NOT NULL
);
COMMENT ON TABLE concordat.policy_epoch IS 'Counts up with every other set of policies. No ledger takes an entry that was authorized in another epoch.';
INSERT INTO concordat.policy_epoch (epoch, digest) VALUES (0, '');

CREATE TABLE concordat.refusal_counts (
  process uuid        NOT NULL,
  from_at timestamptz NOT NULL,
  to_at   timestamptz NOT NULL,
  code    text        NOT NULL,
  count   bigint      NOT NULL,
  PRIMARY KEY (process, from_at, code)
);
COMMENT ON TABLE concordat.refusal_counts IS 'The operator''s ledger: requests refused before anybody was known, counted per process, interval and code.';

CREATE FUNCTION concordat.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'table % is only ever added to', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON concordat.ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION concordat.refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON concordat.ledger_subtrees FOR EACH STATEMENT EXECUTE FUNCTION concordat.refuse_change();
