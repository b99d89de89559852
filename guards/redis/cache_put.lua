-- Keeps a value; what expires first makes room for it: guards/redis/cache.py.
-- KEYS[1]  a hash of values
-- KEYS[2]  a sorted set of their names by the ms at which they expire
-- KEYS[3]  bytes of all names and values
-- ARGV     now in ms or '' for the server's clock, lifetime in ms, most bytes, name, value
-- Answers  how many values that had not expired were dropped
local now = moment(ARGV[1])
local lifetime, most, name, value = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local bytes = tonumber(redis.call('GET', KEYS[3])) or 0
local function drop(gone)
  bytes = math.max(0, bytes - #gone - redis.call('HSTRLEN', KEYS[1], gone))
  redis.call('HDEL', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
if redis.call('HEXISTS', KEYS[1], name) == 1 then
  drop(name)
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  drop(old)
end
local evicted = 0
while bytes + #name + #value > most do
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first then
    break
  end
  drop(first)
  evicted = evicted + 1
end
redis.call('HSET', KEYS[1], name, value)
redis.call('ZADD', KEYS[2], now + lifetime, name)
redis.call('SET', KEYS[3], bytes + #name + #value)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, lifetime)
end
return evicted
