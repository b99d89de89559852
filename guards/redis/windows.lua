-- Counts in several sliding windows of one subject, in all or in none: guards/windows.py.
-- KEYS[1]  a hash with three fields for each window: <name>:i (period), :c (current), :p (previous)
-- ARGV     now in ms or '' for the server's clock, cost, then name, limit, period in ms of each window
-- Answers  {1 or 0, then into the period in ms, current, previous of each window}
local now = moment(ARGV[1])
local cost = tonumber(ARGV[2])
local windows, admitted, longest = {}, true, 0
for at = 3, #ARGV, 3 do
  local name, limit, length = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local period = math.floor(now / length)
  local into = now - period * length
  local held = redis.call('HMGET', KEYS[1], name .. ':i', name .. ':c', name .. ':p')
  local index, current, previous = tonumber(held[1]), tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if index and period == index + 1 then
    current, previous = 0, current
  elseif index and period > index then
    current, previous = 0, 0
  end
  if current + previous * (length - into) / length + cost > limit then
    admitted = false
  end
  longest = math.max(longest, length)
  windows[#windows + 1] = { name = name, period = period, into = into, current = current, previous = previous }
end
local answer = { admitted and 1 or 0 }
for _, window in ipairs(windows) do
  if admitted then
    window.current = window.current + cost
  end
  redis.call('HSET', KEYS[1], window.name .. ':i', window.period, window.name .. ':c', window.current,
    window.name .. ':p', window.previous)
  answer[#answer + 1] = window.into
  answer[#answer + 1] = window.current
  answer[#answer + 1] = window.previous
end
redis.call('PEXPIRE', KEYS[1], 2 * longest)
return answer
