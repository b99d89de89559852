-- Takes or renews a lease: guards/leases.py.
-- KEYS[1]  a sorted set of the subject's leases by the ms at which they run out
-- ARGV     now in ms or '' for the server's clock, lifetime in ms, limit (-1: none), id
-- Answers  1 if the lease is held, 0 if there was no room
local now = moment(ARGV[1])
local lifetime, limit, id = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- What would live longer than any lease can was taken before the clock went back.
for _, early in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now + lifetime), '+inf')) do
  redis.call('ZADD', KEYS[1], now + lifetime, early)
end
if limit >= 0 and not redis.call('ZSCORE', KEYS[1], id) and redis.call('ZCARD', KEYS[1]) >= limit then
  return 0
end
redis.call('ZADD', KEYS[1], now + lifetime, id)
redis.call('PEXPIRE', KEYS[1], lifetime)
return 1
