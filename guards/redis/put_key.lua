-- Writes a record and its places in the index: a record begins with its two digests in hex, of which
-- the previous one may be all zeros.
-- KEYS[1]  a hash of key ids by digest; KEYS[2]  a hash of records by key id
-- ARGV     id, record, the record that it takes the place of ('': whatever is there)
-- Answers  1, or 0 when another record is there
local function digests(record)
  return { record:sub(1, 64), record:sub(65, 128) }
end

local id, record, expected = ARGV[1], ARGV[2], ARGV[3]
local before = redis.call('HGET', KEYS[2], id)
if expected ~= '' and before ~= expected then
  return 0
end
for _, digest in ipairs(before and digests(before) or {}) do
  redis.call('HDEL', KEYS[1], digest)
end
for _, digest in ipairs(digests(record)) do
  if digest:find('[^0]') then
    redis.call('HSET', KEYS[1], digest, id)
  end
end
redis.call('HSET', KEYS[2], id, record)
return 1
