-- Returns whether a request may come without a key ('open' while none was ever made, else 'needed'), or the fields of the
-- key that it sent.
function commands.admit(a)
  if a.id then return {'key', redis.call('HGETALL', P .. 'key:' .. a.id)} end
  return {redis.call('EXISTS', P .. 'keys') == 1 and 'needed' or 'open', {}}
end
