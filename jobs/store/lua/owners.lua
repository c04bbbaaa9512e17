-- Bytes that the objects of each tenant take. owners:<sha> holds who names an object (a holder to its tenant), how many of
-- these each tenant has (#<tenant>) and the size: an object counts once for each tenant that names it, until the last of
-- the tenant's holders is gone. Objects that earlier releases stored have no size until upkeep has measured them (adopt).

function owners.add(who, sha, tenant)
  local key = P .. 'owners:' .. sha
  if redis.call('HSETNX', key, who, tenant) == 1 and redis.call('HINCRBY', key, '#' .. tenant, 1) == 1 then
    redis.call('HINCRBY', P .. 'stored', tenant, redis.call('HGET', key, 'bytes') or 0)
  end
end

function owners.remove(who, sha)
  local key = P .. 'owners:' .. sha
  local tenant = redis.call('HGET', key, who)
  if not tenant then return end
  redis.call('HDEL', key, who)
  if redis.call('HINCRBY', key, '#' .. tenant, -1) == 0 then
    redis.call('HDEL', key, '#' .. tenant)
    local left = redis.call('HINCRBY', P .. 'stored', tenant, -(redis.call('HGET', key, 'bytes') or 0))
    if left == 0 then redis.call('HDEL', P .. 'stored', tenant) end
  end
end

-- Notes the size of an object that is about to be stored. It does not change while somebody names the object.
function owners.measure(sha, bytes)
  if bytes and redis.call('EXISTS', P .. 'owners:' .. sha) == 0 then redis.call('HSET', P .. 'owners:' .. sha, 'bytes', bytes) end
end

-- Whether a tenant may store an object of so many bytes: one that it has takes no more.
function owners.fits(tenant, sha, bytes, most)
  if redis.call('HEXISTS', P .. 'owners:' .. sha, '#' .. tenant) == 1 then return true end
  return (redis.call('HGET', P .. 'stored', tenant) or 0) + bytes <= most
end

-- The tenant of a holder of an object, by its record or its name; nil where a process is storing the object.
function owners.tenant_of(who)
  if who:match('^job_') then return tenant_of(job(who)) end
  if who:match('^model:') or who:match('^collection:') or who:match('^style:') then return tenant_of(P .. who) end
  if who == 'image' or who == 'archive' then return 'default' end
  return who:match('^(.+)/image$') or who:match('^(.+)/archive$')
end
