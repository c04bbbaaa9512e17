-- Counts a request towards a limit a minute: as many may come at once, and then one whenever its part of a minute is over
-- (GCRA, the generic cell rate algorithm). Returns the limit, how many more may come at once, and the ms until all may and
-- until this one may (0: now).
local function pace(key, limit)
  local step, busy_until = 60000 / limit, math.max(now, tonumber(redis.call('GET', key) or 0))
  local busy = busy_until + step - now
  if busy > 60000 then return {limit, 0, math.ceil(busy - step), math.ceil(busy - 60000)} end
  redis.call('SET', key, string.format('%.3f', now + busy), 'PX', math.ceil(busy))
  return {limit, math.floor((60000 - busy) / step), math.ceil(busy), 0}
end

-- Returns whether a request may come without a key ('open' while none was ever made, else 'needed'), or the fields of the
-- key that it sent; counts it towards the key's limit if the digest of its secret is right. Lua compares equal strings by
-- their address; the caller compares them in constant time.
function commands.admit(a)
  if not a.id then return {redis.call('EXISTS', P .. 'keys') == 1 and 'needed' or 'open', {}, {}} end
  local key = P .. 'key:' .. a.id
  local digest, limits = unpack(redis.call('HMGET', key, 'digest', 'limits'))
  local limit = digest == a.digest and limits and cjson.decode(limits).requests_per_minute
  return {'key', redis.call('HGETALL', key), limit and pace(P .. 'pace:' .. a.id, limit) or {}}
end
