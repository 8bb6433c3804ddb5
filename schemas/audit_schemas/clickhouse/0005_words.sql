-- The words a search finds (audit_schemas.canonical.words says the same, and a test holds the two together). They are
-- worked out when read and only indexed when stored: a stored copy would be a third of the table's size and half as much
-- work again for every insert. Text in ASCII, which is nearly all, takes a path five times as fast.
-- In canonical JSON only quotes, backslashes and control characters are escaped, and none of them is part of a word.
ALTER TABLE audit_events
  ADD COLUMN words Array(String) ALIAS arrayDistinct(if(
    isValidASCII(concatWithSeparator(' ', event_type, label, actor_name, actor_email,
      arrayStringConcat(`targets.name`, ' '), arrayStringConcat(`targets.id`, ' '), metadata) AS plain_words)
      AND position(metadata, '\\') = 0,
    splitByNonAlpha(lower(plain_words)),
    extractAll(
      replaceAll(lowerUTF8(normalizeUTF8NFC(concatWithSeparator(' ', event_type, label, actor_name, actor_email,
        arrayStringConcat(`targets.name`, ' '), arrayStringConcat(`targets.id`, ' '),
        replaceRegexpAll(metadata, '\\\\(u[0-9a-fA-F]{4}|.)', ' ')))), 'ς', 'σ'),
      '[\\p{L}\\p{N}]+')
  ));

ALTER TABLE audit_events ADD INDEX bf_words words TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE audit_events MATERIALIZE INDEX bf_words;
