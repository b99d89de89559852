-- KEYS[1]  a hash of key ids by digest; KEYS[2]  a hash of records by key id
-- ARGV     the digest
-- Answers  the record, or nothing
local id = redis.call('HGET', KEYS[1], ARGV[1])
return id and redis.call('HGET', KEYS[2], id)
