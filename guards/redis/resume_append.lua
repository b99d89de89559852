-- Keeps what is new of a session, unless another has claimed it: guards/resume.py.
-- KEYS[1]  a hash: owner, epoch, state, last (the number of the newest event); KEYS[2]  a list of events
-- ARGV     epoch, owner, lifetime in ms, number of the oldest event that is needed, number of the first
--          event given, state, events
-- Answers  1, or 0 when another has claimed it
local held = redis.call('HMGET', KEYS[1], 'epoch', 'last')
local needed, next = tonumber(ARGV[4]), tonumber(ARGV[5])
if held[1] and held[1] ~= ARGV[1] then
  return 0
end
local last = tonumber(held[2]) or next - 1
if not held[1] or next > last + 1 then
  redis.call('DEL', KEYS[2])
  last = next - 1
end
for i = 7 + math.max(0, last + 1 - next), #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
  last = last + 1
end
local first = last + 1 - redis.call('LLEN', KEYS[2])
if needed > first then
  redis.call('LTRIM', KEYS[2], needed - first, -1)
  last = math.max(last, needed - 1)
end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'epoch', ARGV[1], 'state', ARGV[6], 'last', last)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
