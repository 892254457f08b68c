-- Roles and databases, made when PostgreSQL starts on an empty disk; psql reads the passwords from mounted files.
\set podium `cat /run/secrets/database/podium`
\set mlflow `cat /run/secrets/database/mlflow`

CREATE ROLE podium LOGIN PASSWORD :'podium';
CREATE DATABASE podium OWNER podium;
REVOKE ALL ON DATABASE podium FROM PUBLIC;

CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE mlflow FROM PUBLIC;
CREATE DATABASE mlflow_auth OWNER mlflow;
REVOKE ALL ON DATABASE mlflow_auth FROM PUBLIC;
