-- Reads a value that has not expired: guards/redis/cache.py.
-- KEYS[1]  a hash of values
-- KEYS[2]  a sorted set of their names by the ms at which they expire
-- ARGV     now in ms or '' for the server's clock, name
-- Answers  the value, or nil
local expires = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not expires or tonumber(expires) <= moment(ARGV[1]) then
  return false
end
return redis.call('HGET', KEYS[1], ARGV[2])
