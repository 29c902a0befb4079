ALTER TABLE hr.people ADD PRIMARY KEY (person_id);
ALTER TABLE ops.bots ADD PRIMARY KEY (bot_id), ADD FOREIGN KEY (person_id) REFERENCES hr.people;
ALTER TABLE ops.blueprints ADD PRIMARY KEY (blueprint_id), ADD FOREIGN KEY (person_id) REFERENCES hr.people;
ALTER TABLE ops.runs ADD PRIMARY KEY (run_id), ADD FOREIGN KEY (blueprint_id) REFERENCES ops.blueprints, ADD FOREIGN KEY (bot_id) REFERENCES ops.bots;
ALTER TABLE ops.samples ADD PRIMARY KEY (sample_id), ADD FOREIGN KEY (bot_id) REFERENCES ops.bots, ADD FOREIGN KEY (run_id) REFERENCES ops.runs;
ALTER TABLE ops.parameters ADD PRIMARY KEY (parameter_id), ADD UNIQUE (label);

CREATE UNIQUE INDEX ON hr.people (mail);
CREATE INDEX ON hr.people (full_name, person_id);
CREATE INDEX ON hr.people (department, person_id);

CREATE INDEX ON ops.bots (person_id);
CREATE INDEX ON ops.bots (display_name, bot_id);
CREATE INDEX ON ops.bots (state, display_name, bot_id);
CREATE INDEX ON ops.bots (created_on, bot_id);
CREATE INDEX ON ops.bots USING gin (labels);
CREATE INDEX ON ops.bots USING gin (settings jsonb_path_ops);

CREATE INDEX ON ops.blueprints (person_id);
CREATE INDEX ON ops.blueprints (title, revision, blueprint_id);

CREATE INDEX ON ops.runs (bot_id, began DESC, run_id);
CREATE INDEX ON ops.runs (blueprint_id, began DESC, run_id);
CREATE INDEX ON ops.runs (began, run_id);
CREATE INDEX ON ops.runs (outcome, began, run_id);

CREATE INDEX ON ops.samples (bot_id, began DESC, sample_id);
CREATE INDEX ON ops.samples (run_id);
CREATE INDEX ON ops.samples (began, sample_id);
