-- The shared registry. Every change of its state and the event that tells of it happen
-- here, at once or not at all: so the order of the feed is the order of the state.
--
-- KEYS[1] is the prefix of all keys; ARGV[1] says what to do, and ARGV[2] is a JSON object
-- with the fields that operations.py names for that.
--
--   PREFIXt:ID      a hash: what is known of one thing, here or gone
--   PREFIXids       a sorted set, all scores 0: the ids of all things that are known, each behind
--                   what has it in its place in the order
--   PREFIXhere      likewise of those that are here
--   PREFIXgone      a sorted set: the ids of those that are gone, by when, milliseconds
--   PREFIXtexts     a hash: of each thing its node, a zero, and what it is searched by
--   PREFIXn:NODE    a set: the ids of the things that a node has
--   PREFIXleases    a sorted set: nodes, by when their lease runs out, milliseconds
--   PREFIXowners    a hash: the process that has a node's name
--   PREFIXnodes     a hash: how each node said it is, JSON
--   PREFIXpast      a sorted set: nodes that stopped or were lost, by until when they are shown
--   PREFIXfeed      a stream: what happened
--   PREFIXinbox:NODE  a channel: what is for one node
--
-- A writer names the session that it speaks for. Unless the thing has that session, nothing
-- is changed, and the answer says so.
--
-- Redis takes nothing back of what a script did before an error. So each change is noted in all
-- its parts first, and carried out once it is known that Redis will refuse none of them.

local P = KEYS[1]
local MOST_ENDINGS = 5
local MOST_TAKEOVERS = 3
local WINDOW = 60000
local FIRST_WAIT = 10000
local LONGEST_WAIT = 300000
local LARGEST = 2 ^ 53
local LAST_POSITION = '18446744073709551615-18446744073709551615'

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

-- Text only: of a number cjson keeps 14 digits.
local function quoted(text)
  return cjson.encode(text)
end

-- What a command reads; nothing if somebody has put another type there. Any other error, such as
-- that a right is missing, says nothing of what is there: the script ends with it.
local function reading(...)
  local found = redis.pcall(...)
  if type(found) ~= 'table' or not found.err then
    return found
  elseif string.find(found.err, '^WRONGTYPE') then
    return nil
  end
  return redis.call(...)
end

-- What reads a key of the type that a command writes.
local READS = {
  HSET = 'HLEN', HDEL = 'HLEN', SADD = 'SCARD', SREM = 'SCARD', ZADD = 'ZCARD', ZREM = 'ZCARD',
  XADD = 'XLEN', XTRIM = 'XLEN',
}

local noted, allowed, removed = {}, {}, {}

-- A part of a change, as the words of a command: it is to be carried out with the others.
local function note(...)
  noted[#noted + 1] = { ... }
end

local function alive(node)
  local runsOut = redis.call('ZSCORE', P .. 'leases', node)
  return runsOut and tonumber(runsOut) > NOW
end

-- Have a key of another type removed that should be a node's set: a node that lives restores what
-- it has when its lease is gone. Any other is seen to when a lease is renewed; here it is an error.
local function mend(command, key)
  local node = string.sub(key, 1, #P + 2) == P .. 'n:' and string.sub(key, #P + 3)
  if not node then
    redis.call(READS[command], key)
  end
  note('DEL', key)
  if alive(node) then
    note('ZREM', P .. 'leases', node)
  end
  removed[key] = true
end

-- Whether Redis will carry out a part of a change; if not, the script ends with its error.
local function check(part)
  local command, key = part[1], part[2]
  local which = command .. ' ' .. key
  if not allowed[which] then
    -- Before Redis 7 a script cannot ask. Then what decides whether it is done is done last.
    if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(part)) then
      redis.call(unpack(part))
    end
    if command == 'DEL' then
      for at = 2, #part do
        removed[part[at]] = true
      end
    elseif READS[command] and not removed[key] and not reading(READS[command], key) then
      mend(command, key)
    end
    allowed[which] = true
  end
end

local function append(entry)
  local added = redis.pcall(unpack(entry))
  if added.err then
    if string.find(added.err, 'exhausted', 1, true) then
      -- Somebody has used up all positions. Without leases every node begins anew.
      redis.call('DEL', P .. 'feed', P .. 'leases')
    end
    redis.call(unpack(entry))
  end
end

-- Carry out what was noted, or nothing of it: memory, say, is refused for the first part only.
local function commit()
  local parts = noted
  noted = {}
  for _, part in ipairs(parts) do
    check(part)
  end
  local before = noted
  noted = {}
  for _, part in ipairs(before) do
    check(part)
  end
  for _, part in ipairs(parts) do
    if part[1] == 'XADD' then
      append(part)
    end
  end
  for _, some in ipairs({ before, parts }) do
    for _, part in ipairs(some) do
      if part[1] ~= 'XADD' then
        redis.call(unpack(part))
      end
    end
  end
end

-- What is stored of a thing, as far as decisions need it.
local function load(id)
  local found = reading('HMGET', P .. 't:' .. id, 'node', 'session', 'epoch', 'sequence',
    'since', 'key', 'status', 'told', 'lastWord', 'endings')
  if not found then
    note('DEL', P .. 't:' .. id)
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
  note('XADD', P .. 'feed', 'MAXLEN', '~', whole(most), '*', 'kind', kind, 'id', thing.id,
    'epoch', whole(thing.epoch), 'sequence', whole(thing.sequence), 'node', thing.node,
    'session', thing.session, 'at', at, 'data', data)
end

local function publish(node, message)
  note('PUBLISH', P .. 'inbox:' .. node, message)
end

-- Where an id is in the order, as order.py has it: what sorts by its octets as people count.
local function placeOf(id)
  local counted = string.gsub(id, '0*(%d+)', function(digits)
    return string.format('%03d', #digits) .. digits
  end)
  return counted .. '\0' .. id
end

-- Whose place it is, if it is one.
local function idAt(place)
  local _, zeros = string.gsub(place, '%z', '')
  local at = 0
  for _ = 1, (zeros + 1) / 2 do
    at = string.find(place, '\0', at + 1, true)
  end
  return string.sub(place, at + 1)
end

-- Whether it is UTF-8.
local function isText(octets)
  for _, character in ipairs({
    '[\194-\223][\128-\191]', '\224[\160-\191][\128-\191]', '\237[\128-\159][\128-\191]',
    '[\225-\236\238\239][\128-\191][\128-\191]', '\240[\144-\191][\128-\191][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]',
  }) do
    if not string.find(octets, '[\128-\255]') then
      return true
    end
    octets = string.gsub(octets, character, '.')
  end
  return not string.find(octets, '[\128-\255]')
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
  note('ZREM', P .. 'ids', placeOf(id))
  note('ZREM', P .. 'here', placeOf(id))
  note('ZREM', P .. 'gone', id)
  note('HDEL', P .. 'texts', id)
  note('DEL', P .. 't:' .. id)
end

-- The thing is here no more. Its sequence has been moved on already.
local function leave(most, thing, at, data, ending)
  tell(most, 'left', thing, at, data)
  if ofOneSession(thing) then
    forget(thing.id)
    note('SREM', P .. 'n:' .. thing.node, thing.id)
    return
  end
  note('ZREM', P .. 'here', placeOf(thing.id))
  note('ZADD', P .. 'gone', whole(NOW), thing.id)
  thing.endings = withEnding(ending, thing.endings)
  note('HSET', P .. 't:' .. thing.id, 'status', 'gone', 'seen', at, 'lastWord', '',
    'sequence', whole(thing.sequence), 'told', whole(thing.told), 'endings', thing.endings)
  note('SREM', P .. 'n:' .. thing.node, thing.id)
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
    note('HSET', key, 'fightWait', whole(wait), 'fightUntil', whole(NOW + wait))
  end
  note('HSET', key, 'takeovers', table.concat(recent, ' '))
  return wait
end

-- Have a thing in the sets of those that are here, and found by what it is searched by.
local function enlist(thing, text)
  note('SADD', P .. 'n:' .. thing.node, thing.id)
  note('ZADD', P .. 'here', 0, placeOf(thing.id))
  note('ZADD', P .. 'ids', 0, placeOf(thing.id))
  note('HSET', P .. 'texts', thing.id, thing.node .. '\0' .. text)
end

-- Write a session down as what its thing has now.
local function store(thing, status, told, text, fields)
  enlist(thing, text)
  note('ZREM', P .. 'gone', thing.id)
  note('HSET', P .. 't:' .. thing.id, 'node', thing.node, 'session', thing.session,
    'epoch', whole(thing.epoch), 'sequence', whole(thing.sequence), 'status', status,
    'told', whole(told), 'key', thing.key, 'since', thing.since, 'endings', thing.endings,
    unpack(fields))
end

local function superseded(older, newer)
  older.endings = withEnding(
    endingOf(older, 'REPLACED', 'a newer session of the same identity took over'), older.endings)
  note('SREM', P .. 'n:' .. older.node, older.id)
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
local function hold(node, most, fresh, refuse, held)
  local new = {
    id = held.id, session = held.session, epoch = held.epoch, sequence = held.sequence,
    node = node, key = held.key, since = held.since, endings = '',
  }
  local told, data, kind = held.told, held.data, 'joined'
  local stored = load(new.id)
  if stored then
    if stored.here and stored.session ~= new.session and stored.node ~= node
      and not alive(stored.node) then
      lose(most, stored, lostWith(stored.node))
    end
    local objects = objection(stored, new.session, new.epoch, new.key, fresh, refuse)
    if objects then
      return objects
    end
    if stored.session == new.session then
      if stored.here and stored.node == node then
        enlist(stored, held.text) -- Should it be there no more.
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
  store(new, held.status, told, held.text, {
    'seen', held.at, 'lastWord', held.lastWord, 'name', held.name,
    'fingerprint', held.fingerprint, 'address', held.address, 'ttl', whole(held.ttl),
    'group', held.group, 'aead', held.aead, 'resumed', held.resumed and '1' or '0',
  })
  tell(most, kind, new, held.at, data)
  local wait = kind == 'moved' and damp(new.id) or 0
  if wait > 0 then
    new.sequence = new.sequence + 1
    note('HSET', P .. 't:' .. new.id, 'sequence', whole(new.sequence))
    tell(most, 'twins', new, held.at, '{"wait":' .. seconds(wait) .. '}')
  end
  return { kind, whole(new.epoch), whole(new.sequence) }
end

local OPS = {}

-- A session came up. What is carried out after its node stopped waiting must not look like news.
function OPS.join(o)
  if NOW > o.deadline then
    return { 'late' }
  end
  return hold(o.node, o.most, true, o.refuse, o.held)
end

-- Sessions that were up already.
function OPS.restore(o)
  local answers = {}
  for at, held in ipairs(o.sessions) do
    answers[at] = hold(o.node, o.most, false, false, held)
    commit()
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

-- Something happened to a thing.
function OPS.tell(o)
  local thing, answer = heldBy(o.id, o.session)
  if not thing or o.sequence <= thing.told or not (thing.here or o.kind == 'message') then
    return answer
  end
  thing.sequence = math.max(thing.sequence + 1, o.sequence)
  tell(o.most, o.kind, thing, o.at, o.data)
  if thing.here then
    note('HSET', P .. 't:' .. thing.id, 'seen', o.at)
    if o.status ~= '' then
      note('HSET', P .. 't:' .. thing.id, 'status', o.status)
    end
  end
  note('HSET', P .. 't:' .. thing.id, 'sequence', whole(thing.sequence),
    'told', whole(o.sequence))
  return { answer[1], answer[2], whole(thing.sequence) }
end

-- A thing's session is over.
function OPS.leave(o)
  local thing, answer = heldBy(o.id, o.session)
  if thing and thing.here then
    thing.told = o.sequence
    thing.sequence = math.max(thing.sequence + 1, thing.told)
    leave(o.most, thing, o.at, o.data, o.ending)
  end
  return answer
end

-- A thing left another last word, for the case that it is lost.
function OPS.lastWord(o)
  local thing, answer = heldBy(o.id, o.session)
  if thing and thing.here then
    note('HSET', P .. 't:' .. thing.id, 'lastWord', o.lastWord)
  end
  return answer
end

-- May an identity have a session? Nothing is changed.
function OPS.admit(o)
  local thing = load(o.id)
  if not thing then
    return { 'yes' }
  end
  if thing.here and alive(thing.node) then
    local word = thing.key ~= o.key and 'key' or o.refuse and 'here'
    if word then
      return { word, whole(number(redis.call('HGET', P .. 't:' .. o.id, 'ttl'))) }
    end
  end
  local wait = number(redis.call('HGET', P .. 't:' .. o.id, 'fightUntil')) - NOW
  -- Nobody has to wait for longer than that: the clock was set back.
  return wait > 0 and wait <= LONGEST_WAIT and { 'wait', whole(wait) } or { 'yes' }
end

-- Whether the keys that all share are what they must be. What is not is to be removed, and all
-- leases with it, so that every node restores what it has.
local function sound(node)
  local count, wrong = {}, {}
  for name, command in pairs({
    ids = 'ZCARD', here = 'ZCARD', gone = 'ZCARD', leases = 'ZCARD', past = 'ZCARD',
    owners = 'HLEN', nodes = 'HLEN', texts = 'HLEN', feed = 'XLEN', ['n:' .. node] = 'SCARD',
  }) do
    count[name] = reading(command, P .. name)
    if not count[name] then
      wrong[#wrong + 1] = P .. name
    end
  end
  if #wrong == 0 and count['n:' .. node] <= count.here and (count.here == 0 or count.ids > 0) then
    return true
  end
  note('DEL', P .. 'leases', unpack(wrong))
  return false
end

-- A node is alive. Says whether its lease had not run out, and to a process that has just begun
-- how the node was before.
function OPS.renew(o)
  local living = sound(o.node) and alive(o.node)
  local owner = reading('HGET', P .. 'owners', o.node)
  if owner and owner ~= o.process and not o.first and living then
    return { 'usurped', whole(NOW) }
  end
  local kept = owner == o.process and living
  local before = o.first and reading('HGET', P .. 'nodes', o.node) or ''
  note('HSET', P .. 'owners', o.node, o.process)
  note('HSET', P .. 'nodes', o.node, o.record)
  note('ZADD', P .. 'leases', whole(NOW + o.lease), o.node)
  note('ZREM', P .. 'past', o.node)
  return { kept and 'kept' or 'new', whole(NOW), before }
end

-- Take some things of a node off: all that are not here, whatever their session.
local function empty(node, most, limit, detail)
  local ids = reading('SRANDMEMBER', P .. 'n:' .. node, limit)
  if not ids then
    note('DEL', P .. 'n:' .. node)
    return 0
  end
  for _, id in ipairs(ids) do
    local thing = load(id)
    if thing and thing.node == node and thing.here then
      lose(most, thing, detail)
    else
      note('SREM', P .. 'n:' .. node, id)
    end
    commit()
  end
  return redis.call('SCARD', P .. 'n:' .. node)
end

-- Clean up after one node whose lease ran out. Says whether there is more of that.
local function sweepLost(most, limit, keep)
  local node = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', whole(NOW), 'LIMIT', 0, 1)[1]
  if not node then
    return false
  end
  if empty(node, most, limit, lostWith(node)) == 0 then
    note('HDEL', P .. 'owners', node)
    note('ZADD', P .. 'past', whole(NOW + keep), node)
    note('ZREM', P .. 'leases', node)
    commit()
  end
  return true -- There may be another node.
end

-- Forget things that are gone for long, or before many others. Says whether there may be more.
local function sweepGone(limit, keep, most)
  local old = redis.call('ZRANGEBYSCORE', P .. 'gone', '-inf', whole(NOW - keep),
    'LIMIT', 0, limit)
  local excess = redis.call('ZCARD', P .. 'gone') - most
  if #old == 0 and excess > 0 then
    old = redis.call('ZRANGE', P .. 'gone', 0, math.min(excess, limit) - 1)
  end
  for _, id in ipairs(old) do
    forget(id)
    commit()
  end
  return #old >= limit
end

-- Shorten the stream if it takes too much.
local function shorten(most)
  local octets = redis.call('MEMORY', 'USAGE', P .. 'feed', 'SAMPLES', 20) or 0
  if octets > most then
    local length = redis.call('XLEN', P .. 'feed')
    note('XTRIM', P .. 'feed', 'MAXLEN', math.floor(0.9 * length * most / octets))
  end
end

-- Clean up after one node, and forget what is old. Says how much is left to be done at once.
function OPS.sweep(o)
  -- No lease is as long as that: the clock was set back.
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases',
    '(' .. whole(NOW + 3 * o.lease), '+inf', 'LIMIT', 0, o.limit)) do
    note('ZADD', P .. 'leases', whole(NOW + o.lease), name)
  end
  local left = sweepLost(o.most, o.limit, o.keepNodes) and 1 or 0
  left = left + (sweepGone(o.limit, o.keep, o.mostGone) and 1 or 0)
  for _, past in ipairs(redis.call('ZRANGEBYSCORE', P .. 'past', '-inf', whole(NOW),
    'LIMIT', 0, o.limit)) do
    note('HDEL', P .. 'nodes', past)
    note('ZREM', P .. 'past', past)
  end
  commit()
  shorten(o.mostOctets)
  return left
end

-- What a node is said to have. Answers a cursor, then id and session of each.
function OPS.claims(o)
  local found = redis.call('SSCAN', P .. 'n:' .. o.node, o.cursor, 'COUNT', o.count)
  local answer = { found[1] }
  for _, id in ipairs(found[2]) do
    answer[#answer + 1] = id
    local thing = load(id)
    answer[#answer + 1] = thing and thing.session or ''
  end
  return answer
end

-- Take off what a node does not have.
function OPS.disown(o)
  for _, claim in ipairs(o.claims) do
    local thing = load(claim.id)
    if not thing or thing.node ~= o.node or not thing.here then
      note('SREM', P .. 'n:' .. o.node, claim.id)
    elseif thing.session == claim.session then
      lose(o.most, thing, 'the session ended while its node could not tell')
    end
    commit()
  end
  return { 'done' }
end

-- A node stops in order, and is shown as stopped for a while: how sessions ended there is asked
-- for after a drain. Says how many things are still to be taken off.
function OPS.retire(o)
  if redis.call('HGET', P .. 'owners', o.node) ~= o.process then
    return 0
  end
  local left = empty(o.node, o.most, o.limit, 'the node ' .. o.node .. ' was stopped')
  if left == 0 then
    note('ZREM', P .. 'leases', o.node)
    note('HSET', P .. 'nodes', o.node, o.record)
    note('ZADD', P .. 'past', whole(NOW + o.keep), o.node)
    note('HDEL', P .. 'owners', o.node)
  end
  return left
end

-- The rows of some things: of each that is known its id, and the fields in their order.
local function rowsOf(ids, fields)
  local rows = {}
  for _, id in ipairs(ids) do
    local row = reading('HMGET', P .. 't:' .. id, 'session', unpack(fields))
    if row and row[1] then
      row[1] = id
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- What is known of some things: the rows of those that are.
function OPS.find(o)
  return rowsOf(o.ids, o.fields)
end

-- Whether a thing is asked for. Of one that somebody else has put there the id is searched.
local function wanted(id, entry, text, node, status)
  if text ~= '' or node ~= '' then
    entry = entry or (reading('HGET', P .. 't:' .. id, 'node') or '') .. '\0' .. id
    local zero = string.find(entry, '\0', 1, true) or #entry + 1
    if node ~= '' and string.sub(entry, 1, zero - 1) ~= node
      or not string.find(entry, text, zero + 1, true) then
      return false
    end
  end
  return status == '' or reading('HGET', P .. 't:' .. id, 'status') == status
end

-- Some ids of a set in their order, and whether there may be more. What somebody else has put
-- there, which is no place of a thing's, is taken out: nobody could go on behind it.
local function idsAfter(set, after, count)
  local from = after == '' and '-' or '(' .. placeOf(after)
  while true do
    local ids, places = {}, redis.call('ZRANGEBYLEX', set, from, '+', 'LIMIT', 0, count)
    for _, place in ipairs(places) do
      local id = idAt(place)
      if isText(id) and placeOf(id) == place then
        ids[#ids + 1] = id
      else
        note('ZREM', set, place)
      end
    end
    commit()
    if #ids > 0 or #places < count then
      return ids, #places == count
    end
  end
end

-- Look at some things in the order of their ids. Answers the last that was looked at, or nothing
-- after the last of all, and the rows of those that are asked for.
function OPS.list(o)
  local ids, more = idsAfter(P .. o.set, o.after, o.count)
  local last = more and ids[#ids] or ''
  local searches = #ids > 0 and (o.text ~= '' or o.node ~= '')
  local texts = searches and reading('HMGET', P .. 'texts', unpack(ids)) or {}
  local found = {}
  for at, id in ipairs(ids) do
    if wanted(id, texts[at], o.text, o.node, o.status) then
      found[#found + 1] = id
      if #found == o.most and at < #ids then
        last = id
        break
      end
    end
  end
  return { last, rowsOf(found, o.fields) }
end

-- What happened. Answers whether there may be more, and entries of the stream: one at least if
-- there is one, however long it is.
function OPS.read(o)
  local after, left = o.after, o.octets
  local entries = {}
  while #entries < o.limit and left > 0 do
    local found = after ~= LAST_POSITION -- Redis takes no beginning behind that.
      and reading('XRANGE', P .. 'feed', '(' .. after, '+', 'COUNT', 1)
    local entry = found and found[1]
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

-- Show a node no more that stopped or was lost. Says whether it is.
function OPS.forget(o)
  if not redis.call('HGET', P .. 'nodes', o.node) then
    return { 'unknown' }
  elseif alive(o.node) then
    return { 'alive' }
  end
  note('HDEL', P .. 'nodes', o.node)
  note('ZREM', P .. 'past', o.node)
  return { 'done' }
end

-- Remember a thing no more that is gone. Says whether it is.
function OPS.forgetThing(o)
  local thing = load(o.id)
  if not thing then
    return { 'unknown' }
  elseif thing.here then
    return { 'here' }
  end
  forget(o.id)
  return { 'done' }
end

local answer = OPS[ARGV[1]](cjson.decode(ARGV[2]))
commit()
return answer
