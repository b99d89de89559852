-- Takes a place among a key's unused tickets.
-- KEYS[1]  a sorted set of the key's tickets (hashed) by the ms at which they expire
-- ARGV     now in ms or '' for the server's clock, lifetime in ms, limit, the ticket's hash
-- Answers  0, or the ms until there is room
local now = moment(ARGV[1])
local lifetime, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= limit then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, math.ceil(tonumber(first[2]) - now))
end
redis.call('ZADD', KEYS[1], now + lifetime, ARGV[4])
redis.call('PEXPIRE', KEYS[1], lifetime)
return 0
