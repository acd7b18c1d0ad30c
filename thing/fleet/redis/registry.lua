-- The shared registry. Every change of its state and the event that tells of it happen
-- here, at once or not at all: so the order of the feed is the order of the state.
--
-- KEYS[1] is the prefix of all keys; ARGV[1] says what to do, the rest is for that.
--
--   PREFIXt:ID      a hash: what is known of one thing, here or gone
--   PREFIXids       a sorted set, all scores 0: the ids of all things that are known
--   PREFIXhere      likewise of those that are here
--   PREFIXgone      a sorted set: the ids of those that are gone, by when, milliseconds
--   PREFIXn:NODE    a set: the ids of the things that a node has
--   PREFIXleases    a sorted set: nodes, by when their lease runs out, milliseconds
--   PREFIXowners    a hash: the process that has a node's name
--   PREFIXnodes     a hash: how each node said it is, JSON
--   PREFIXlost      a sorted set: nodes whose lease ran out, by when
--   PREFIXfeed      a stream: what happened
--   PREFIXinbox:NODE  a channel: what is for one node
--
-- A writer names the session that it speaks for. Unless the thing has that session, nothing
-- is changed, and the answer says so.

local P = KEYS[1]
local MOST_ENDINGS = 5
local MOST_TAKEOVERS = 3
local WINDOW = 60000
local FIRST_WAIT = 10000
local LONGEST_WAIT = 300000
local LARGEST = 2 ^ 53
local ROW = {
  'name', 'fingerprint', 'status', 'node', 'session', 'epoch', 'sequence', 'since', 'seen',
  'address', 'group', 'aead', 'resumed', 'endings',
}

local NOW
do
  local time = redis.call('TIME')
  NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

local function seconds(milliseconds)
  return string.format('%.3f', milliseconds / 1000)
end

-- A number that this script has written; of anything else nothing is to be made.
local function number(text)
  local found = tonumber(text or nil) or 0
  return found >= 0 and found < LARGEST and found or 0
end

local function quoted(text)
  return cjson.encode(text)
end

-- What is stored of a thing, as far as decisions need it.
local function load(id)
  local found = redis.pcall('HMGET', P .. 't:' .. id, 'node', 'session', 'epoch', 'sequence',
    'since', 'key', 'status', 'told', 'lastWord', 'endings')
  if found.err then -- Somebody has put something else there.
    redis.call('DEL', P .. 't:' .. id)
    return nil
  end
  if not found[2] then
    return nil
  end
  return {
    id = id, node = found[1] or '', session = found[2], epoch = number(found[3]),
    sequence = number(found[4]), since = found[5] or '0', key = found[6] or '',
    here = found[7] ~= 'gone', told = number(found[8]), lastWord = found[9] or '',
    endings = found[10] or '',
  }
end

local function tell(most, kind, thing, at, data)
  local entry = {
    'XADD', P .. 'feed', 'MAXLEN', '~', most, '*', 'kind', kind, 'id', thing.id,
    'epoch', whole(thing.epoch), 'sequence', whole(thing.sequence), 'node', thing.node,
    'session', thing.session, 'at', at, 'data', data,
  }
  local added = redis.pcall(unpack(entry))
  if added.err then
    if string.find(added.err, 'exhausted', 1, true) then
      -- Somebody has used up all positions. Without leases every node begins anew.
      redis.call('DEL', P .. 'feed', P .. 'leases')
    end
    redis.call(unpack(entry))
  end
end

local function publish(node, message)
  return redis.call('PUBLISH', P .. 'inbox:' .. node, message)
end

local function alive(node)
  local runsOut = redis.call('ZSCORE', P .. 'leases', node)
  return runsOut and tonumber(runsOut) > NOW
end

-- A thing of one session only: NAME#SESSION.
local function ofOneSession(thing)
  return string.sub(thing.id, -17) == '#' .. string.sub(thing.session, 1, 16)
end

local function withEnding(ending, before)
  local lines = { ending }
  for line in string.gmatch(before, '[^\n]+') do
    if #lines < MOST_ENDINGS then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, '\n')
end

local function endingOf(thing, cause, detail)
  return '{"session":' .. quoted(thing.session) .. ',"node":' .. quoted(thing.node)
    .. ',"since":' .. (tonumber(thing.since) and thing.since or '0') .. ',"until":' .. seconds(NOW)
    .. ',"cause":' .. quoted(cause) .. ',"detail":' .. quoted(detail) .. '}'
end

local function forget(id)
  redis.call('DEL', P .. 't:' .. id)
  redis.call('ZREM', P .. 'ids', id)
  redis.call('ZREM', P .. 'here', id)
  redis.call('ZREM', P .. 'gone', id)
end

-- The thing is here no more. Its sequence has been moved on already.
local function leave(most, thing, at, data, ending)
  tell(most, 'left', thing, at, data)
  redis.call('SREM', P .. 'n:' .. thing.node, thing.id)
  if ofOneSession(thing) then
    forget(thing.id)
    return
  end
  redis.call('HSET', P .. 't:' .. thing.id, 'status', 'gone', 'seen', at, 'lastWord', '',
    'sequence', whole(thing.sequence), 'told', whole(thing.told),
    'endings', withEnding(ending, thing.endings))
  redis.call('ZREM', P .. 'here', thing.id)
  redis.call('ZADD', P .. 'gone', whole(NOW), thing.id)
end

-- Take a thing off whose node cannot do it: with its last word, and why.
local function lose(most, thing, detail)
  local at = seconds(NOW)
  if thing.lastWord ~= '' then
    thing.sequence = thing.sequence + 1
    tell(most, 'lastWord', thing, at, thing.lastWord)
  end
  thing.sequence = thing.sequence + 1
  leave(most, thing, at,
    '{"cause":"NODE_LOST","detail":' .. quoted(detail)
      .. ',"code":null,"reason":null,"byPeer":false,"since":'
      .. (tonumber(thing.since) and thing.since or '0') .. '}',
    endingOf(thing, 'NODE_LOST', detail))
  thing.here = false
end

local function lostWith(node)
  return 'the node ' .. node .. ' was lost'
end

-- Count a takeover, and decide how long newcomers must wait; zero while it is borne.
local function damp(id)
  local key = P .. 't:' .. id
  local found = redis.call('HMGET', key, 'takeovers', 'fightWait', 'fightUntil')
  local recent = {}
  for when in string.gmatch(found[1] or '', '%d+') do
    if math.abs(NOW - tonumber(when)) < WINDOW then
      recent[#recent + 1] = when
    end
  end
  recent[#recent + 1] = whole(NOW)
  while #recent > MOST_TAKEOVERS + 1 do
    table.remove(recent, 1)
  end
  local wait = number(found[2])
  if NOW - number(found[3]) >= WINDOW or number(found[3]) - NOW > LONGEST_WAIT then
    wait = 0
  end
  if #recent > MOST_TAKEOVERS or wait > 0 then
    wait = wait > 0 and math.min(2 * wait, LONGEST_WAIT) or FIRST_WAIT
    redis.call('HSET', key, 'fightWait', whole(wait), 'fightUntil', whole(NOW + wait))
  end
  redis.call('HSET', key, 'takeovers', table.concat(recent, ' '))
  return wait
end

-- Have a thing in the sets of those that are here.
local function enlist(thing)
  redis.call('SADD', P .. 'n:' .. thing.node, thing.id)
  redis.call('ZADD', P .. 'here', 0, thing.id)
  redis.call('ZADD', P .. 'ids', 0, thing.id)
end

-- Write a session down as what its thing has now.
local function store(thing, status, told, fields)
  redis.call('HSET', P .. 't:' .. thing.id, 'node', thing.node, 'session', thing.session,
    'epoch', whole(thing.epoch), 'sequence', whole(thing.sequence), 'status', status,
    'told', whole(told), 'key', thing.key, 'since', thing.since, 'endings', thing.endings,
    unpack(fields))
  enlist(thing)
  redis.call('ZREM', P .. 'gone', thing.id)
end

local function superseded(older, newer)
  older.endings = withEnding(
    endingOf(older, 'REPLACED', 'a newer session of the same identity took over'), older.endings)
  redis.call('SREM', P .. 'n:' .. older.node, older.id)
  if older.node ~= newer.node then
    publish(older.node, '{"op":"supersede","id":' .. quoted(older.id) .. ',"session":'
      .. quoted(older.session) .. ',"epoch":' .. whole(newer.epoch) .. '}')
  end
end

-- Why a session may not have its thing; nothing if it may.
local function objection(stored, session, epoch, key, fresh, refuse)
  if stored.session == session then
    return nil
  elseif not fresh and stored.epoch >= epoch then
    return { 'stale', whole(stored.epoch) }
  elseif stored.here and stored.key ~= key then
    return { 'key', stored.node }
  elseif stored.here and fresh and refuse then
    return { 'here', stored.node }
  end
end

-- A session that came up has its thing from now on; one that is restored, only if no newer has.
-- NODE MOST UNTIL POLICY, then of each session
-- ID SESSION EPOCH SEQUENCE TOLD STATUS KEY SINCE AT DATA LAST_WORD
-- NAME FINGERPRINT ADDRESS GROUP AEAD RESUMED
local function hold(node, most, fresh, refuse, a)
  local new = {
    id = a[1], session = a[2], epoch = tonumber(a[3]), sequence = tonumber(a[4]), node = node,
    key = a[7], since = a[8], endings = '',
  }
  local told, data, kind = tonumber(a[5]), a[10], 'joined'
  local stored = load(new.id)
  if stored then
    if stored.here and stored.session ~= new.session and stored.node ~= node
      and not alive(stored.node) then
      lose(most, stored, lostWith(stored.node))
      stored = load(new.id) or stored
    end
    local objects = objection(stored, new.session, new.epoch, new.key, fresh, refuse)
    if objects then
      return objects
    end
    if stored.session == new.session then
      if stored.here and stored.node == node then
        enlist(stored) -- Should it be there no more.
        return { 'same', whole(stored.epoch), whole(stored.sequence) }
      end
      new.epoch, told = math.max(new.epoch, stored.epoch), stored.told
      new.sequence = math.max(new.sequence, stored.sequence + 1)
    else
      new.epoch = math.max(new.epoch, stored.epoch + 1)
      if stored.here then
        superseded(stored, new)
        kind = 'moved'
        data = string.sub(data, 1, -2) .. ',"fromNode":' .. quoted(stored.node)
          .. ',"fromSession":' .. quoted(stored.session)
          .. ',"fromEpoch":' .. whole(stored.epoch) .. '}'
      end
    end
    new.endings = stored.endings
  elseif not fresh and ofOneSession(new) then
    new.epoch = math.max(new.epoch, NOW) -- Nothing is kept of such a thing, its events neither.
  end
  store(new, a[6], told, {
    'seen', a[9], 'lastWord', a[11], 'name', a[12], 'fingerprint', a[13], 'address', a[14],
    'group', a[15], 'aead', a[16], 'resumed', a[17],
  })
  tell(most, kind, new, a[9], data)
  local wait = kind == 'moved' and damp(new.id) or 0
  if wait > 0 then
    new.sequence = new.sequence + 1
    redis.call('HSET', P .. 't:' .. new.id, 'sequence', whole(new.sequence))
    tell(most, 'twins', new, a[9], '{"wait":' .. seconds(wait) .. '}')
  end
  return { kind, whole(new.epoch), whole(new.sequence) }
end

local OPS = {}

-- A session came up: NODE MOST UNTIL POLICY and the session. UNTIL is when the node stops
-- waiting: what is carried out later must not look like news.
function OPS.join(a)
  if NOW > tonumber(a[3]) then
    return { 'late' }
  end
  return hold(a[1], a[2], true, a[4] == 'refuse', { unpack(a, 5) })
end

-- Sessions that were up already: NODE MOST and the sessions.
function OPS.restore(a)
  local answers = {}
  for at = 3, #a, 17 do
    answers[#answers + 1] = hold(a[1], a[2], false, false, { unpack(a, at, at + 16) })
  end
  return answers
end

-- Find the thing of a writer, if it has the session that the writer speaks for.
local function heldBy(id, session)
  local thing = load(id)
  if not thing then
    return nil, { 'unknown' }
  elseif thing.session ~= session then
    return nil, { 'stale', whole(thing.epoch) }
  end
  return thing, { thing.here and 'done' or 'gone', whole(thing.epoch), whole(thing.sequence) }
end

-- Something happened to a thing: MOST ID SESSION SEQUENCE KIND AT DATA STATUS.
function OPS.tell(a)
  local thing, answer = heldBy(a[2], a[3])
  local sequence = tonumber(a[4])
  if not thing or sequence <= thing.told or not (thing.here or a[5] == 'message') then
    return answer
  end
  thing.sequence = math.max(thing.sequence + 1, sequence)
  tell(a[1], a[5], thing, a[6], a[7])
  redis.call('HSET', P .. 't:' .. thing.id, 'sequence', whole(thing.sequence),
    'told', whole(sequence))
  if thing.here then
    redis.call('HSET', P .. 't:' .. thing.id, 'seen', a[6])
    if a[8] ~= '' then
      redis.call('HSET', P .. 't:' .. thing.id, 'status', a[8])
    end
  end
  return { answer[1], answer[2], whole(thing.sequence) }
end

-- A thing's session is over: MOST ID SESSION SEQUENCE AT DATA ENDING.
function OPS.leave(a)
  local thing, answer = heldBy(a[2], a[3])
  if thing and thing.here then
    thing.told = tonumber(a[4])
    thing.sequence = math.max(thing.sequence + 1, thing.told)
    leave(a[1], thing, a[5], a[6], a[7])
  end
  return answer
end

-- A thing left another last word, for the case that it is lost: ID SESSION DATA.
function OPS.word(a)
  local thing, answer = heldBy(a[1], a[2])
  if thing and thing.here then
    redis.call('HSET', P .. 't:' .. thing.id, 'lastWord', a[3])
  end
  return answer
end

-- May an identity have a session? ID KEY POLICY. Nothing is changed.
function OPS.admit(a)
  local thing = load(a[1])
  if not thing then
    return { 'yes' }
  end
  if thing.here and alive(thing.node) then
    if thing.key ~= a[2] then
      return { 'key', thing.node }
    elseif a[3] == 'refuse' then
      return { 'here', thing.node }
    end
  end
  local wait = number(redis.call('HGET', P .. 't:' .. a[1], 'fightUntil')) - NOW
  -- Nobody has to wait for longer than that: the clock was set back.
  return wait > 0 and wait <= LONGEST_WAIT and { 'wait', whole(wait) } or { 'yes' }
end

-- Whether the keys that all share are what they must be. One of another type is removed.
local function sound(node)
  local count, right = {}, true
  for name, command in pairs({
    ids = 'ZCARD', here = 'ZCARD', gone = 'ZCARD', leases = 'ZCARD', lost = 'ZCARD',
    owners = 'HLEN', nodes = 'HLEN', feed = 'XLEN', ['n:' .. node] = 'SCARD',
  }) do
    count[name] = redis.pcall(command, P .. name)
    if type(count[name]) == 'table' then
      redis.call('DEL', P .. name)
      count[name], right = 0, false
    end
  end
  return right and count['n:' .. node] <= count.here and (count.here == 0 or count.ids > 0)
end

-- A node is alive: NODE PROCESS LEASE RECORD FIRST. Says whether its lease had not run out.
function OPS.renew(a)
  local node, process = a[1], a[2]
  if not sound(node) then
    redis.call('DEL', P .. 'leases') -- So that every node restores what it has.
  end
  local owner = redis.call('HGET', P .. 'owners', node)
  if owner and owner ~= process and a[5] ~= 'first' and alive(node) then
    return { 'usurped', whole(NOW) }
  end
  local kept = owner == process and alive(node)
  redis.call('HSET', P .. 'owners', node, process)
  redis.call('HSET', P .. 'nodes', node, a[4])
  redis.call('ZADD', P .. 'leases', whole(NOW + tonumber(a[3])), node)
  redis.call('ZREM', P .. 'lost', node)
  return { kept and 'kept' or 'new', whole(NOW) }
end

-- Take some things of a node off: all that are not here, whatever their session.
local function empty(node, most, limit, detail)
  for _, id in ipairs(redis.call('SPOP', P .. 'n:' .. node, limit)) do
    local thing = load(id)
    if thing and thing.node == node and thing.here then
      lose(most, thing, detail)
    end
  end
  return redis.call('SCARD', P .. 'n:' .. node)
end

-- Clean up after one node whose lease ran out, and forget what is old: MOST LIMIT KEEP
-- MOST_GONE KEEP_NODES MOST_OCTETS LEASE. Says how much is left to be done at once.
function OPS.sweep(a)
  -- No lease is as long as that: the clock was set back.
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases',
    '(' .. whole(NOW + 3 * tonumber(a[7])), '+inf', 'LIMIT', 0, tonumber(a[2]))) do
    redis.call('ZADD', P .. 'leases', whole(NOW + tonumber(a[7])), name)
  end
  local limit, left = tonumber(a[2]), 0
  local node = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', whole(NOW), 'LIMIT', 0, 1)[1]
  if node then
    left = empty(node, a[1], limit, lostWith(node))
    if left == 0 then
      redis.call('ZREM', P .. 'leases', node)
      redis.call('HDEL', P .. 'owners', node)
      redis.call('ZADD', P .. 'lost', whole(NOW), node)
      left = 1 -- There may be another node.
    end
  end
  local old = redis.call('ZRANGEBYSCORE', P .. 'gone', '-inf', whole(NOW - tonumber(a[3])),
    'LIMIT', 0, limit)
  local excess = redis.call('ZCARD', P .. 'gone') - tonumber(a[4])
  if #old == 0 and excess > 0 then
    old = redis.call('ZRANGE', P .. 'gone', 0, math.min(excess, limit) - 1)
  end
  for _, id in ipairs(old) do
    forget(id)
  end
  for _, lost in ipairs(redis.call('ZRANGEBYSCORE', P .. 'lost', '-inf',
    whole(NOW - tonumber(a[5])), 'LIMIT', 0, limit)) do
    redis.call('ZREM', P .. 'lost', lost)
    redis.call('HDEL', P .. 'nodes', lost)
  end
  local octets = redis.call('MEMORY', 'USAGE', P .. 'feed', 'SAMPLES', 20) or 0
  if octets > tonumber(a[6]) then
    local length = redis.call('XLEN', P .. 'feed')
    redis.call('XTRIM', P .. 'feed', 'MAXLEN', math.floor(0.9 * length * tonumber(a[6]) / octets))
  end
  return left + (#old >= limit and 1 or 0)
end

-- What a node is said to have: NODE CURSOR COUNT. Answers a cursor, then id and session of each.
function OPS.mine(a)
  local found = redis.call('SSCAN', P .. 'n:' .. a[1], a[2], 'COUNT', a[3])
  local answer = { found[1] }
  for _, id in ipairs(found[2]) do
    answer[#answer + 1] = id
    local thing = load(id)
    answer[#answer + 1] = thing and thing.session or ''
  end
  return answer
end

-- Take off what a node does not have: NODE MOST, then id and session of each.
function OPS.disown(a)
  for at = 3, #a, 2 do
    local thing = load(a[at])
    if not thing or thing.node ~= a[1] or not thing.here then
      redis.call('SREM', P .. 'n:' .. a[1], a[at])
    elseif thing.session == a[at + 1] then
      lose(a[2], thing, 'the session ended while its node could not tell')
    end
  end
  return { 'done' }
end

-- A node leaves in order: NODE PROCESS MOST LIMIT. Says how many things are still to be taken off.
function OPS.retire(a)
  if redis.call('HGET', P .. 'owners', a[1]) ~= a[2] then
    return 0
  end
  local left = empty(a[1], a[3], tonumber(a[4]), 'the node ' .. a[1] .. ' was stopped')
  if left == 0 then
    redis.call('ZREM', P .. 'leases', a[1])
    redis.call('HDEL', P .. 'owners', a[1])
    redis.call('HDEL', P .. 'nodes', a[1])
  end
  return left
end

-- What is known of some things: the ids. Of each that is known a row: its id, and ROW.
function OPS.find(a)
  local rows = {}
  for _, id in ipairs(a) do
    local row = redis.pcall('HMGET', P .. 't:' .. id, unpack(ROW))
    if row[5] then
      table.insert(row, 1, id)
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- Go through the things in the order of their ids: SET AFTER COUNT. Answers the last id that
-- was looked at, or nothing after the last, and the rows.
function OPS.list(a)
  local from = a[2] == '' and '-' or '(' .. a[2]
  local count = tonumber(a[3])
  local ids = redis.call('ZRANGEBYLEX', P .. a[1], from, '+', 'LIMIT', 0, count)
  return { #ids == count and ids[#ids] or '', OPS.find(ids) }
end

-- What happened: AFTER LIMIT OCTETS. Answers whether there may be more, and entries of the
-- stream: one at least if there is one, however long it is.
function OPS.read(a)
  local after, limit, left = a[1], tonumber(a[2]), tonumber(a[3])
  local entries = {}
  while #entries < limit and left > 0 do
    local entry = redis.pcall('XRANGE', P .. 'feed', '(' .. after, '+', 'COUNT', 1)[1]
    if not entry then
      return { 0, entries }
    end
    entries[#entries + 1] = entry
    after = entry[1]
    for _, word in ipairs(entry[2]) do
      left = left - #word
    end
  end
  return { 1, entries }
end

-- How the nodes are: the time, what each said, and when its lease runs out.
function OPS.nodes()
  return {
    whole(NOW), redis.call('HGETALL', P .. 'nodes'),
    redis.call('ZRANGE', P .. 'leases', 0, -1, 'WITHSCORES'),
  }
end

return OPS[ARGV[1]]({ unpack(ARGV, 2) })
