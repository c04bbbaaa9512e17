-- The job protocol. Every change of a job is one call of a command, so it is atomic.
-- ARGV[1] is the name of the command, ARGV[2] its arguments as JSON; nested JSON is passed as opaque strings.
--
-- Parts: start.lua (prefix of keys, clock), keys.lua (API keys), helpers.lua (this file), owners.lua (bytes of tenants),
-- queues.lua (turns of tenants), webhooks.lua (endpoints and deliveries), jobs.lua (create to delete), upkeep.lua (sweep),
-- objects.lua (uploads, models, collections, clean-up), processes.lua (heartbeats). protocol.py joins them in this order and
-- makes a script of each command, of the definitions that it uses. A definition begins at the start of a line with `local`
-- or `function`; everything else of it is indented, except its last `end`.
--
--   queued -> running -> succeeded | failed | canceled      queued -> canceled | expired
--             running -> canceling -> canceled              running -> queued  (a lease ran out, or was handed back)
--
-- A caller with a tenant (`a.tenant`) sees and changes what belongs to it; workers and upkeep have none and see everything.
--
-- Keys (all under "atelier:"; "zset" is a sorted set). The keys marked with * exist for each tenant, as <tenant>/<key>; the
-- tenant `default` has the plain ones:
--   job:<id>          hash, the record                         events:<id>   stream, its events
--   queue:<name>      zset *, queued ids by rank                delayed       zset, queued ids that wait for a retry
--   leases            zset, running ids by end of lease         expiry        zset, queued ids by expires_at
--   jobs, jobs:kind:<k>, jobs:status:<s>, jobs:kind-status:<k>:<s>   zsets *, ids in order, an index for each filter
--   done              zset, finished ids by end of life         dropping      set, deleted owners that still name objects
--   named:<who>       list, the objects of an owner: <who> is model:<id>, collection:<id> or style:<id>
--   refs:<sha>        zset, holders of an object by end of hold objects       zset, objects by time of next check
--   owners:<sha>      hash, who names an object for which tenant, and its size (owners.lua)
--   stored            hash, bytes that the objects of each tenant take
--   deleting:<sha>    an object that is being deleted           image:<sha>, archive:<sha>   * facts of an upload
--   model:<id>        hash, the card of a trained model         models        zset *, the ids of trained models
--   shared-models     zset, ids of models that every tenant may use
--   deleted-models    zset, ids of deleted models by time: workers delete their copies
--   collection:<id>   hash, a collection and its versions   collections   zset *, the ids of collections
--   style:<id>        hash, a kept style                    styles        zset *, the ids of kept styles by time
--   uses:<id>         set, the unfinished jobs that use a model or a collection, and the collections that use a model
--   idem:<key>        * the request and job of a key             stats         hash, counters and histograms for /metrics
--   endpoint:<id>     hash, a registered webhook                endpoints   zset *, their ids
--   delivery:<id>     hash, a webhook of one finished job       deliveries, deliveries:<status>   zsets *, ids in order
--   deliveries-of:<job>   set, ids                              deliveries-done   zset, ended ids by end of life
--   due:<host>        zset, pending ids by time of next call    due-hosts   zset, hosts by time of next call
--   workers, upkeeps  zsets, processes by last heartbeat        state:<name>, upkeep:<name>   facts that a process reports
--   reports      zset, sha256 of what workers report of their models by last heartbeat; report:<sha256>   the same
--   worker:<name>   both, for an API of an earlier release
--   claimed           hash, time of the last claim of a queue
--   turns:<queue>     zset, tenants with queued jobs by the virtual time of their next turn
--   served:<queue>    hash, that time of every tenant, and of the last claim ('')
--   weights           hash, weights of tenants                 ends        hash, by queue: mean time between two ends, the last, mean runs by kind
--   unloaded          zset, ids of models by the time when workers were asked to evict them
--   backup            exists during a backup                restoring     exists during a restore
--   key:<id>          hash, an API key                      keys        zset, the ids of API keys by time
--   pace:<key>        when a key's requests may all come at once again
--   trained:<tenant>:<period>   ms that the trainings of a tenant ran in a period

local FOREVER = '+inf'
local DAY_MS = 86400000
local PERIOD_MS = 30 * DAY_MS -- of training_hours
-- Redis serves no other client while a command runs, so each command does a bounded amount of work: larger work is
-- done in steps of this size, and the result says whether the caller should call again.
local STEP = 100
-- Waiting raises a job's rank: ten minutes in the queue count as much as one step of priority.
local AGING_MS = 600000
local WINDOW, NEAR = 200, 20 -- how many queued jobs a claim looks at for a batch, and for one job
local PASSES = 4 -- how often a job may be passed over for one whose models are loaded

local function job(id) return P .. 'job:' .. id end
-- The name of a key, or of a holder of an upload, that each tenant has.
local function of(tenant, name) return (tenant == 'default' and '' or tenant .. '/') .. name end
-- Records of earlier releases have no tenant.
local function tenant_of(key) return redis.call('HGET', key, 'tenant') or 'default' end
local function owns(a, key) return not a.tenant or tenant_of(key) == a.tenant end
local function get(id, field) return redis.call('HGET', job(id), field) end
local function all(id, ...) return unpack(redis.call('HMGET', job(id), ...)) end

local owners, queues = {}, {} -- owners.lua and queues.lua define the functions of theirs

local function count(name) redis.call('HINCRBY', P .. 'stats', name, 1) end

-- Adds a value to a histogram: 1 to the first bucket that holds it, and the value to the sum. protocol.py has the bounds.
local function observe(name, value, bounds)
  local bucket = '+Inf'
  for _, bound in ipairs(bounds) do
    if value <= bound then
      bucket = bound
      break
    end
  end
  count(name .. ':' .. bucket)
  redis.call('HINCRBYFLOAT', P .. 'stats', name .. ':sum', value)
end

-- Adds an event and publishes the id of its job, so that followers read the stream.
local function event(id, kind, data)
  redis.call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', 5000, '*', 'type', kind, 'data', data)
  redis.call('PUBLISH', P .. 'events', id)
end

local function move(id, status, error)
  local from, kind, attempt = all(id, 'status', 'kind', 'attempt')
  local jobs = P .. of(tenant_of(job(id)), 'jobs')
  if from then
    redis.call('ZREM', jobs .. ':status:' .. from, id)
    redis.call('ZREM', jobs .. ':kind-status:' .. kind .. ':' .. from, id)
  end
  redis.call('HSET', job(id), 'status', status)
  redis.call('ZADD', jobs .. ':status:' .. status, 0, id)
  redis.call('ZADD', jobs .. ':kind-status:' .. kind .. ':' .. status, 0, id)
  event(id, 'status', string.format('{"status":"%s","attempt":%d,"error":%s}', status, attempt, error or 'null'))
end

local function dequeue(id)
  queues.remove(id)
  redis.call('ZREM', P .. 'delayed', id)
  redis.call('ZREM', P .. 'expiry', id)
end

-- Returns a job to its queue, where it can expire again; with a delay (ms) it is not claimed before.
local function requeue(id, delay)
  redis.call('HDEL', job(id), 'progress', 'worker')
  redis.call('ZREM', P .. 'leases', id)
  local expires_at = get(id, 'expires_at')
  if expires_at then redis.call('ZADD', P .. 'expiry', expires_at, id) end
  if delay > 0 then redis.call('ZADD', P .. 'delayed', now + delay, id) else queues.add(id) end
  move(id, 'queued')
end

-- Removes the reference of `who` (a job, model:<id>, collection:<id> or style:<id>) to an object; the next clean-up checks it.
local function unreference(who, sha)
  redis.call('ZREM', P .. 'refs:' .. sha, who)
  redis.call('ZADD', P .. 'objects', now, sha)
  owners.remove(who, sha)
end

-- Records that `who` (a job or a collection) uses models and collections, so that they cannot be deleted. `ids` are
-- separated by spaces.
local function use(who, ids)
  for used in ids:gmatch('%S+') do redis.call('SADD', P .. 'uses:' .. used, who) end
end

local function unuse(who, ids)
  for used in ids:gmatch('%S+') do redis.call('SREM', P .. 'uses:' .. used, who) end
end

local function name(who, sha, tenant)
  redis.call('ZADD', P .. 'refs:' .. sha, FOREVER, who)
  owners.add(who, sha, tenant)
end

local function refer(who, objects)
  local tenant = tenant_of(P .. who)
  for _, sha in ipairs(objects) do
    name(who, sha, tenant)
    redis.call('RPUSH', P .. 'named:' .. who, sha)
  end
end

-- Removes the references of a deleted model or collection, one step of them; the sweeps remove the others.
local function drop(who)
  for _, sha in ipairs(redis.call('LPOP', P .. 'named:' .. who, STEP) or {}) do unreference(who, sha) end
  local more = redis.call('EXISTS', P .. 'named:' .. who) == 1
  redis.call(more and 'SADD' or 'SREM', P .. 'dropping', who)
end

-- Asks the workers to evict a model from their memory.
local function unload(id)
  redis.call('ZADD', P .. 'unloaded', now, id)
  redis.call('ZREMRANGEBYSCORE', P .. 'unloaded', '-inf', now - DAY_MS)
end

-- Deletes a model or a collection, and its references to objects.
local function unregister(sort, id)
  local who = sort .. ':' .. id
  -- Earlier releases stored the objects in a field.
  for sha in (redis.call('HGET', P .. who, 'objects') or ''):gmatch('%x+') do redis.call('RPUSH', P .. 'named:' .. who, sha) end
  drop(who)
  unuse(id, redis.call('HGET', P .. who, 'uses') or '')
  redis.call('ZREM', P .. of(tenant_of(P .. who), sort .. 's'), id)
  redis.call('UNLINK', P .. who)
  if sort == 'model' then
    redis.call('ZREM', P .. 'shared-models', id)
    unload(id)
    redis.call('ZADD', P .. 'deleted-models', now, id)
    redis.call('ZREMRANGEBYRANK', P .. 'deleted-models', 0, -10001)
  end
end

-- Records that a job builds the next version of a collection; creates the collection if it is new.
local function build(id, collection, params, uses)
  local key = P .. 'collection:' .. collection
  if redis.call('HSETNX', key, 'created_at', now) == 1 then
    local tenant = tenant_of(job(id))
    redis.call('HSET', key, 'params', params, 'uses', uses, 'tenant', tenant)
    redis.call('ZADD', P .. of(tenant, 'collections'), 0, collection)
    use(collection, uses)
  end
  redis.call('HSET', key, 'building', id)
  redis.call('HSET', job(id), 'collection', collection)
end

-- Records that a job no longer builds its collection; deletes a collection without a version.
local function stop_building(id)
  local collection = get(id, 'collection')
  if not collection then return end
  redis.call('HDEL', P .. 'collection:' .. collection, 'building')
  if redis.call('HEXISTS', P .. 'collection:' .. collection, 'latest') == 0 then unregister('collection', collection) end
end

-- Sets the time of a delivery's next call, in the index of its host; without a time there is none.
local function schedule(id, at)
  local host = redis.call('HGET', P .. 'delivery:' .. id, 'host')
  local key = P .. 'due:' .. host
  if at then redis.call('ZADD', key, at, id) else redis.call('ZREM', key, id) end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', P .. 'due-hosts', first[2], host) else redis.call('ZREM', P .. 'due-hosts', host) end
end

-- Sets the status of a delivery: pending, delivered or failed. An ended one is kept for as long as a finished job.
local function set_delivery(id, status)
  local key = P .. 'delivery:' .. id
  local from, index = redis.call('HGET', key, 'status'), P .. of(tenant_of(key), 'deliveries:')
  if from then redis.call('ZREM', index .. from, id) end
  redis.call('HSET', key, 'status', status)
  redis.call('ZADD', index .. status, 0, id)
  if status == 'pending' then
    redis.call('ZREM', P .. 'deliveries-done', id)
  else
    redis.call('ZADD', P .. 'deliveries-done', now + redis.call('HGET', key, 'ttl_ms'), id)
    schedule(id, nil)
  end
end

-- Makes a delivery of the end of a job, due now. Its id sorts by time; a job has one for each of its receivers.
local function deliver(job_id, endpoint, url, event_type, payload)
  local id = string.format('msg_%012x', now) .. job_id:sub(-12) .. endpoint:sub(-12)
  local host = url:lower():match('^https://([^/?#]+)'):gsub(':%d+$', ''):gsub('%.$', '')
  local tenant = tenant_of(job(job_id))
  redis.call('HSET', P .. 'delivery:' .. id, 'id', id, 'tenant', tenant, 'job', job_id, 'endpoint', endpoint, 'url', url, 'host', host,
    'event', event_type, 'payload', payload, 'created_at', now, 'tries', 0, 'fence', 0, 'ttl_ms', get(job_id, 'ttl_ms'))
  redis.call('ZADD', P .. of(tenant, 'deliveries'), 0, id)
  redis.call('SADD', P .. 'deliveries-of:' .. job_id, id)
  set_delivery(id, 'pending')
  schedule(id, now)
end

local REPORTED = {'id', 'kind', 'status', 'attempt', 'created_at', 'started_at', 'finished_at', 'outputs', 'metrics', 'error',
  'retry_of', 'collection', 'version'}

-- Makes the deliveries of a job that has ended: to its own webhook_url and to each endpoint of its tenant for the event. They hold what
-- they report, as the texts of the record, so they outlive it.
local function announce(id)
  local url, endpoints = get(id, 'webhook_url') or '', redis.call('ZRANGE', P .. of(tenant_of(job(id)), 'endpoints'), 0, -1)
  if url == '' and #endpoints == 0 then return end
  local fields = {}
  for _, name in ipairs(REPORTED) do fields[name] = get(id, name) or nil end
  local event_type, payload = 'job.' .. fields.status, cjson.encode(fields)
  if url ~= '' then deliver(id, '000000000000', url, event_type, payload) end
  for _, endpoint in ipairs(endpoints) do
    local to, events, disabled_at = unpack(redis.call('HMGET', P .. 'endpoint:' .. endpoint, 'url', 'events', 'disabled_at'))
    local wanted = (' ' .. events .. ' '):find(' ' .. event_type .. ' ', 1, true)
    if wanted and not disabled_at then deliver(id, endpoint, to, event_type, payload) end
  end
end

local function close(id, status, error)
  local uses, ttl_ms, kind = all(id, 'uses', 'ttl_ms', 'kind')
  redis.call('HSET', job(id), 'finished_at', now, 'error', error or '')
  redis.call('ZREM', P .. 'leases', id)
  unuse(id, uses or '')
  stop_building(id)
  redis.call('ZADD', P .. 'done', now + ttl_ms, id)
  count('jobs:' .. kind .. ':' .. status)
  if error then count('failures:' .. kind .. ':' .. cjson.decode(error).code) end
  move(id, status, error)
  announce(id)
end

-- Returns the status of a job if the caller holds its current lease, else nil.
local function held(a)
  local status = get(a.id, 'status')
  if get(a.id, 'fence') == tostring(a.fence) and (status == 'running' or status == 'canceling') then return status end
end

-- Returns what the holder of a lease must do: the status of its job, or 'finishing' after finish_early.
local function instruction(id, status)
  return status == 'running' and get(id, 'finishing') and 'finishing' or status
end

-- Returns the ids of a zset whose time has passed, at most STEP of them.
local function due(zset) return redis.call('ZRANGEBYSCORE', P .. zset, '-inf', now, 'LIMIT', 0, STEP) end

local function overdue(id)
  local expires_at = redis.call('ZSCORE', P .. 'expiry', id)
  return expires_at and tonumber(expires_at) <= now
end

local function expire(id)
  dequeue(id)
  close(id, 'expired')
end

local function reference(id, sha)
  name(id, sha, tenant_of(job(id)))
  redis.call('HSET', job(id), 'objects', (get(id, 'objects') or '') .. sha .. ' ')
end

-- Replaces the checkpoint of a job; nil removes it.
local function keep_checkpoint(id, checkpoint)
  local old = get(id, 'checkpoint')
  if old then
    unreference(id, cjson.decode(old).sha256)
    redis.call('HDEL', job(id), 'checkpoint')
  end
  if checkpoint then
    name(id, cjson.decode(checkpoint).sha256, tenant_of(job(id)))
    redis.call('HSET', job(id), 'checkpoint', checkpoint)
  end
end

-- Registers the model that a job trained or added; finish calls it when the job succeeds.
local function add_model(id, model)
  local tenant = tenant_of(job(id))
  redis.call('HSET', P .. 'model:' .. model.id, 'card', model.card, 'trained_by', id, 'created_at', now, 'tenant', tenant)
  redis.call('ZADD', P .. of(tenant, 'models'), 0, model.id)
  redis.call('ZREM', P .. 'deleted-models', model.id)
  if model.shared then redis.call('ZADD', P .. 'shared-models', 0, model.id) end
  refer('model:' .. model.id, model.objects)
end

-- Registers the version of a collection that a job made. The next version continues from its parameters.
local function add_version(id, made)
  local who = 'collection:' .. get(id, 'collection')
  local version = redis.call('HINCRBY', P .. who, 'latest', 1)
  redis.call('HSET', P .. who, 'params', get(id, 'params'), 'version:' .. version,
    cjson.encode({created_at = now, built_by = id, file = made.file, figures = made.figures, plots = made.plots,
      side_files = made.side_files}))
  refer(who, made.objects)
  redis.call('HSET', job(id), 'version', version)
end

-- Whether an object is held or named, and is not being deleted.
local function live(sha)
  return redis.call('ZCOUNT', P .. 'refs:' .. sha, '(' .. now, FOREVER) > 0 and redis.call('EXISTS', P .. 'deleting:' .. sha) == 0
end

-- Deletes the record of a finished job; returns how many objects it named.
local function forget(id)
  local objects, kind, status = all(id, 'objects', 'kind', 'status')
  local number = 0
  for sha in (objects or ''):gmatch('%x+') do
    unreference(id, sha)
    number = number + 1
  end
  keep_checkpoint(id, nil)
  local jobs = P .. of(tenant_of(job(id)), 'jobs')
  redis.call('ZREM', jobs, id)
  redis.call('ZREM', jobs .. ':kind:' .. kind, id)
  redis.call('ZREM', jobs .. ':status:' .. status, id)
  redis.call('ZREM', jobs .. ':kind-status:' .. kind .. ':' .. status, id)
  redis.call('ZREM', P .. 'done', id)
  redis.call('UNLINK', job(id), P .. 'events:' .. id)
  return number
end

-- Extends the life of an uploaded image or archive to `ttl` ms from now. `sort` is `of` its tenant.
local function keep_upload(sort, sha, ttl)
  if redis.call('PEXPIRE', P .. sort .. ':' .. sha, ttl) == 1 then
    redis.call('ZADD', P .. 'refs:' .. sha, now + ttl, sort)
    redis.call('ZADD', P .. 'objects', now + ttl, sha)
  end
end

-- Whether Redis is near its maxmemory. The rest of the memory is for accepted jobs: at the limit Redis refuses events
-- and Celery's own commands, and no job could end.
local function out_of_room()
  local memory = redis.call('INFO', 'memory')
  local used, bound = tonumber(memory:match('used_memory:(%d+)')), tonumber(memory:match('maxmemory:(%d+)'))
  return bound > 0 and used > 0.9 * bound
end

-- The key that holds how long the trainings of a tenant ran in this period.
local function trained(tenant) return P .. 'trained:' .. tenant .. ':' .. math.floor(now / PERIOD_MS) end
