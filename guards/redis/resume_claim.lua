-- Takes a session over: who had it can keep nothing more of it.
-- KEYS[1]  a hash: owner, epoch, state, last; KEYS[2]  a list of events
-- ARGV     owner, lifetime in ms
-- Answers  epoch, number of the newest event, state, events; or nothing
local held = redis.call('HMGET', KEYS[1], 'owner', 'last', 'state')
if not held[1] or held[1] ~= ARGV[1] then
  return {}
end
local answer = { redis.call('HINCRBY', KEYS[1], 'epoch', 1), tonumber(held[2]), held[3] }
for _, event in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  answer[#answer + 1] = event
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return answer
