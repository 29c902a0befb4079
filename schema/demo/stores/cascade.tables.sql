-- Cascade Logistics. Its names fit; its keys are UUIDs; it keeps neither executions nor metrics.
CREATE TABLE users (
  key uuid NOT NULL DEFAULT gen_random_uuid(),
  name text COLLATE "C" NOT NULL,
  email text COLLATE "C",
  team text COLLATE "C",
  created_at timestamptz NOT NULL
);

CREATE TABLE agents (
  key uuid NOT NULL DEFAULT gen_random_uuid(),
  name text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL CHECK (status IN ('ACTIVE', 'PAUSED', 'ARCHIVED')),
  description text COLLATE "C",
  tags text[],
  configuration jsonb,
  monthly_budget numeric(12, 2) CHECK (monthly_budget >= 0),
  max_concurrency integer CHECK (max_concurrency > 0),
  created_at timestamptz NOT NULL,
  updated_at timestamptz,
  owner_key uuid,
  embedding real[]
);
COMMENT ON COLUMN agents.monthly_budget IS 'What it may spend in a month, in US dollars.';

CREATE TABLE workflows (
  key uuid NOT NULL DEFAULT gen_random_uuid(),
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  definition jsonb,
  owner_key uuid
);

CREATE TABLE platform_settings (
  key uuid NOT NULL DEFAULT gen_random_uuid(),
  name text COLLATE "C" NOT NULL,
  value jsonb,
  description text COLLATE "C",
  updated_at timestamptz
);
