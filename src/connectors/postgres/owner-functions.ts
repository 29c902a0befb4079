/**
 * What an owner installs beside its tables: `concordat.pseudonym`, which the gateway's statements call, and the keys that it alone reads. Built-in functions only
 * (PostgreSQL 14 and later), so that no extension is needed.
 */
import { compareText } from '../../query/order.js'
import { join, name, sql } from '../sql/fragment.js'
import { inlined, literal } from '../sql/literal.js'

export interface OwnerFunctionsInput {
  /** That the gateway logs in as. */
  readonly role: string
  /** Each has a key of its own, so that the pseudonyms of two of them cannot be joined. */
  readonly grantees: readonly string[]
}

/**
 * Statements for one transaction of the tables' owner; they can be applied again, and a key that is there stays as it is.
 *
 * A key is 32 bytes from the server's strong random source (each UUID brings 122 bits). What is kept is the key padded to SHA-256's block of 64 bytes, XORed with
 * HMAC's two constants (RFC 2104), so that the built-in `sha256` makes the HMAC.
 */
export function ownerFunctions({ role, grantees }: OwnerFunctionsInput): string {
  const gateway = name(role)
  const distinct = [...new Set(grantees)].sort(compareText)
  const list = join(
    distinct.map((grantee) => literal(grantee)),
    ', ',
  )
  return inlined(sql`SET LOCAL concordat.rls_role = ${literal(role)};

CREATE SCHEMA IF NOT EXISTS concordat;
REVOKE ALL ON SCHEMA concordat FROM PUBLIC, ${gateway};
GRANT USAGE ON SCHEMA concordat TO ${gateway};

CREATE TABLE IF NOT EXISTS concordat.pseudonym_key (
  grantee text PRIMARY KEY,
  inner_pad bytea NOT NULL CHECK (octet_length(inner_pad) = 64),
  outer_pad bytea NOT NULL CHECK (octet_length(outer_pad) = 64)
);
COMMENT ON TABLE concordat.pseudonym_key IS 'Secret. Whoever has a key can tell which value a pseudonym stands for; without it, the same pseudonyms cannot be made again.';
REVOKE ALL ON TABLE concordat.pseudonym_key FROM PUBLIC, ${gateway};

WITH made AS MATERIALIZED (
  SELECT g.grantee, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) AS key
  FROM unnest(ARRAY[${list}]::text[]) AS g(grantee)
)
INSERT INTO concordat.pseudonym_key (grantee, inner_pad, outer_pad)
SELECT m.grantee, p.inner_pad || decode(repeat('36', 32), 'hex'), p.outer_pad || decode(repeat('5c', 32), 'hex')
FROM made m CROSS JOIN LATERAL (
  SELECT string_agg(set_byte(decode('00', 'hex'), 0, get_byte(m.key, n) # 54), decode('', 'hex') ORDER BY n) AS inner_pad,
    string_agg(set_byte(decode('00', 'hex'), 0, get_byte(m.key, n) # 92), decode('', 'hex') ORDER BY n) AS outer_pad
  FROM generate_series(0, 31) AS n
) p
ON CONFLICT (grantee) DO NOTHING;

CREATE OR REPLACE FUNCTION concordat.pseudonym(grantee text, domain text, value text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $concordat$
  SELECT 'p-' || left(encode(sha256(k.outer_pad || sha256(k.inner_pad || convert_to(pseudonym.domain, 'UTF8')
    || CASE WHEN pseudonym.value IS NULL THEN decode('1e', 'hex') ELSE decode('1f', 'hex') || convert_to(pseudonym.value, 'UTF8') END)), 'hex'), 32)
  FROM concordat.pseudonym_key k WHERE k.grantee = pseudonym.grantee
$concordat$;
COMMENT ON FUNCTION concordat.pseudonym(text, text, text) IS
  'HMAC-SHA256 of domain and value under the key of the grantee, the first 128 bits. NULL has a pseudonym too; a grantee without a key has none.';
REVOKE ALL ON FUNCTION concordat.pseudonym(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION concordat.pseudonym(text, text, text) TO ${gateway};

DO $concordat$
DECLARE
  gateway CONSTANT name := current_setting('concordat.rls_role');
BEGIN
  IF to_regclass('concordat.migrations') IS NOT NULL OR has_table_privilege(gateway, 'concordat.pseudonym_key', 'SELECT')
    OR has_schema_privilege(gateway, 'concordat', 'CREATE') OR EXISTS (
      SELECT FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid LEFT JOIN pg_proc p ON p.pronamespace = n.oid
      WHERE n.nspname = 'concordat' AND (pg_has_role(gateway, n.nspowner, 'MEMBER') OR pg_has_role(gateway, c.relowner, 'MEMBER')
        OR pg_has_role(gateway, p.proowner, 'MEMBER'))) THEN
    RAISE EXCEPTION 'the schema concordat is not out of reach of the role of the gateway'
      USING HINT = 'It must belong to the owner of the tables. The ledgers of the gateway need a database of their own.';
  END IF;
END
$concordat$;
`)
}
