-- Who may read a portfolio besides its owner: no one, readers who know its key, or everyone.
ALTER TABLE portfolios ADD COLUMN visibility TEXT NOT NULL DEFAULT 'private'
    CHECK (visibility IN ('private', 'link', 'public'));
-- Takes the place of the id in the addresses of a portfolio that is shared by link. A check of a column is dropped with it.
ALTER TABLE portfolios ADD COLUMN link_key TEXT CHECK ((visibility = 'link') = (link_key IS NOT NULL));
CREATE UNIQUE INDEX portfolios_link_key ON portfolios (link_key) WHERE link_key IS NOT NULL;
