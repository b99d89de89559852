-- Books a charge once, as far as the quota allows: guards/usage.py, `grant`.
-- KEYS[1]  a hash of what the key used that day: user, audio, characters, requests
-- KEYS[2]  what was granted of this charge, if it was booked already
-- ARGV     user, audio ms, characters, requests, audio quota (-1: none), characters quota (-1: none),
--          1 for the whole or nothing, lifetime of KEYS[2] in seconds
-- Answers  {audio, characters, requests granted, audio, characters, requests in all}
local function total()
  local held = redis.call('HMGET', KEYS[1], 'audio', 'characters', 'requests')
  return tonumber(held[1]) or 0, tonumber(held[2]) or 0, tonumber(held[3]) or 0
end

local used_audio, used_characters, used_requests = total()
local booked = redis.call('GET', KEYS[2])
if booked then
  local audio, characters, requests = booked:match('^(%S+) (%S+) (%S+)$')
  return { tonumber(audio), tonumber(characters), tonumber(requests), used_audio, used_characters, used_requests }
end
local audio, characters, requests = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local audio_quota, characters_quota, whole = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local fits = true
if audio_quota >= 0 and audio > 0 then
  local left = math.max(0, audio_quota - used_audio)
  if whole and audio > left then
    fits = false
  end
  audio = math.min(audio, left)
end
if whole and characters_quota >= 0 and characters > math.max(0, characters_quota - used_characters) then
  fits = false
end
if not fits then
  audio, characters, requests = 0, 0, 0
end
if audio ~= 0 or characters ~= 0 or requests ~= 0 then
  redis.call('HSET', KEYS[1], 'user', ARGV[1])
  redis.call('HINCRBY', KEYS[1], 'audio', audio)
  redis.call('HINCRBY', KEYS[1], 'characters', characters)
  redis.call('HINCRBY', KEYS[1], 'requests', requests)
  redis.call('SET', KEYS[2], string.format('%d %d %d', audio, characters, requests), 'EX', ARGV[8])
end
return { audio, characters, requests, used_audio + audio, used_characters + characters, used_requests + requests }
