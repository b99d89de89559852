-- Writes a record and its place in the index.
-- KEYS[1]  a hash of key ids by digest; KEYS[2]  a hash of records by key id
-- ARGV     id, digest, record, the record that it takes the place of ('': whatever is there)
-- Answers  1, or 0 when another record is there
local before = redis.call('HGET', KEYS[2], ARGV[1])
if ARGV[4] ~= '' and before ~= ARGV[4] then
  return 0
end
if before then
  redis.call('HDEL', KEYS[1], before:sub(1, 64))
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
