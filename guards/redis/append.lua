-- Adds an entry under the next number.
-- KEYS[1]  a stream; KEYS[2]  the last number that was given
-- ARGV     the entry
local number = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], number .. '-0', 'entry', ARGV[1])
return number
