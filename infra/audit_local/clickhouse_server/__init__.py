"""ClickHouse for one machine: the embedded engine (chdb) in a process of its own, behind ClickHouse's HTTP protocol.

Every other process talks to it with the client it also uses in production. `docs/clickhouse-front.md` says what is
spoken and what is not. A request goes `app` → `request` + `body` → `statement` → `engine` → `answer`.
"""
