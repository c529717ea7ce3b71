DROP TABLE concentration_limits;
