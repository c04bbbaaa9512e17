-- Protects an object of so many bytes from clean-up for ttl_ms, before they are stored. If the holder is the job or upload
-- that will name it, the hold ends with that reference. It counts for a caller with a tenant, up to its limit.
function commands.hold(a)
  if redis.call('EXISTS', P .. 'deleting:' .. a.sha) == 1 then return 'deleting' end
  if a.max_stored and not owners.fits(a.tenant, a.sha, a.bytes, a.max_stored) then return 'limit' end
  owners.measure(a.sha, a.bytes)
  if a.tenant then owners.add(a.holder, a.sha, a.tenant) end
  redis.call('ZADD', P .. 'refs:' .. a.sha, 'GT', now + a.ttl_ms, a.holder)
  redis.call('ZADD', P .. 'objects', 'GT', now + a.ttl_ms, a.sha)
  return 'held'
end

-- Records an upload, and ends the hold of `holder`.
function commands.put_upload(a)
  if out_of_room() then return 'out_of_room' end
  redis.call('SET', P .. a.sort .. ':' .. a.sha, a.facts)
  keep_upload(a.sort, a.sha, a.ttl_ms)
  owners.add(a.sort, a.sha, a.tenant or 'default')
  if a.holder then
    redis.call('ZREM', P .. 'refs:' .. a.sha, a.holder)
    owners.remove(a.holder, a.sha)
  end
  return 'kept'
end

-- Deletes an upload. Its bytes stay while jobs, or another upload that is being stored, name them.
function commands.delete_upload(a)
  if redis.call('DEL', P .. a.sort .. ':' .. a.sha) == 0 then return 'missing' end
  unreference(a.sort, a.sha)
  return 'deleted'
end

-- Registers a kept style, and its image unless that is gone.
function commands.keep_style(a)
  if out_of_room() then return 'out_of_room' end
  if a.thumbnail ~= '' and not live(a.thumbnail) then return 'missing' end
  local tenant = a.tenant or 'default'
  redis.call('HSET', P .. 'style:' .. a.id, 'facts', a.facts, 'created_at', now, 'tenant', tenant)
  redis.call('ZADD', P .. of(tenant, 'styles'), now, a.id)
  if a.thumbnail ~= '' then refer('style:' .. a.id, {a.thumbnail}) end
  return 'kept'
end

-- Sets names of clusters of a collection, by their fields; an empty name removes one.
function commands.name_clusters(a)
  local key = P .. 'collection:' .. a.id
  if redis.call('EXISTS', key) == 0 or not owns(a, key) then return 'missing' end
  if out_of_room() then return 'out_of_room' end
  for _, named in ipairs(a.names) do
    if named.name == '' then redis.call('HDEL', key, named.field) else redis.call('HSET', key, named.field, named.name) end
  end
  return 'done'
end

-- Lets every tenant use a model, or ends that.
function commands.share(a)
  local key = P .. 'model:' .. a.id
  if redis.call('EXISTS', key) == 0 or not owns(a, key) then return 'missing' end
  if a.shared then redis.call('ZADD', P .. 'shared-models', 0, a.id) else redis.call('ZREM', P .. 'shared-models', a.id) end
  return 'done'
end

-- Deletes a model, a collection or a style that nothing uses and no job builds. Names no users of other tenants.
function commands.unregister(a)
  local key = P .. a.sort .. ':' .. a.id
  if redis.call('EXISTS', key) == 0 or not owns(a, key) then return {'missing', {}} end
  local building = redis.call('HGET', key, 'building')
  if building then return {'building', {building}} end
  local users, own = redis.call('SRANDMEMBER', P .. 'uses:' .. a.id, 10), {}
  for _, user in ipairs(users) do
    if owns(a, user:match('^job_') and job(user) or P .. 'collection:' .. user) then own[#own + 1] = user end
  end
  if #users > 0 then return {'in_use', own} end
  unregister(a.sort, a.id)
  return {'deleted', {}}
end

function commands.unload(a)
  unload(a.id)
  return 'asked'
end

-- Returns the time, and the models that were unloaded since an earlier one; none without it.
function commands.unloaded(a)
  return {now, a.since and redis.call('ZRANGEBYSCORE', P .. 'unloaded', a.since, '+inf') or {}}
end

-- Returns objects that nothing names. The caller must delete each within a minute; until then it cannot be stored.
-- Returns none during a backup, whose records may name them.
function commands.condemn(a)
  local condemned = {}
  if redis.call('EXISTS', P .. 'backup') == 1 then return condemned end
  for _, sha in ipairs(redis.call('ZRANGEBYSCORE', P .. 'objects', '-inf', now, 'LIMIT', 0, 1000)) do
    if #condemned == a.limit then break end
    for _, who in ipairs(redis.call('ZRANGEBYSCORE', P .. 'refs:' .. sha, '-inf', now)) do owners.remove(who, sha) end
    redis.call('ZREMRANGEBYSCORE', P .. 'refs:' .. sha, '-inf', now)
    local last = redis.call('ZRANGE', P .. 'refs:' .. sha, -1, -1, 'WITHSCORES')
    if #last == 0 then
      redis.call('SET', P .. 'deleting:' .. sha, 1, 'PX', 60000)
      redis.call('ZADD', P .. 'objects', now + 60000, sha)
      condemned[#condemned + 1] = sha
    elseif last[2] == 'inf' then
      redis.call('ZREM', P .. 'objects', sha)
    else
      redis.call('ZADD', P .. 'objects', last[2], sha)
    end
  end
  return condemned
end

-- A condemned object was deleted: it can be stored again.
function commands.deleted(a)
  redis.call('DEL', P .. 'deleting:' .. a.sha, P .. 'owners:' .. a.sha)
  if redis.call('EXISTS', P .. 'refs:' .. a.sha) == 0 then redis.call('ZREM', P .. 'objects', a.sha) end
  return 'deleted'
end

-- Counts an object that an earlier release stored, of so many bytes, for the tenants that name it; once.
function commands.adopt(a)
  local key, refs = P .. 'owners:' .. a.sha, P .. 'refs:' .. a.sha
  if redis.call('EXISTS', refs) == 0 or redis.call('HSETNX', key, 'bytes', a.bytes) == 0 then return 'counted' end
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do -- a tenant that named it since then counts already, with no bytes
    local tenant = fields[i]:match('^#(.+)$')
    if tenant then redis.call('HINCRBY', P .. 'stored', tenant, a.bytes) end
  end
  for _, who in ipairs(redis.call('ZRANGE', refs, 0, -1)) do
    local tenant = owners.tenant_of(who)
    if tenant then owners.add(who, a.sha, tenant) end
  end
  return 'counted'
end
