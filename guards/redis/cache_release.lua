-- Gives back a claim, if it is still its holder's: guards/redis/cache.py.
-- KEYS[1]  the claim
-- ARGV     its holder
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
