// Records and events as the server sends them, made for tests.

export function record(changes = {}) {
  return {id: 'lamp', name: 'lamp', fingerprint: 'SHA256:abc', status: 'present', node: 'north',
    session: 's1', epoch: 1, sequence: 1, since: 1000, lastSeen: 1000, address: '192.0.2.1:9',
    group: '', aead: '', resumed: false, traffic: null, endings: [], ...changes};
}

export function event(kind, changes = {}) {
  const {id, name, fingerprint, node, session, epoch, address, resumed} = record();
  return {kind, id, name, fingerprint, node, session, epoch, sequence: 2, at: 1001, address,
    resumed, ttl: 30, ...changes};
}

export const traffic = (changes = {}) => ({ttl: 30, heartbeats: 1, roundTripTime: 0.01,
  messagesIn: 0, messagesOut: 0, octetsIn: 0, octetsOut: 0, streams: 0, creditStalls: 0,
  silence: 0, ...changes});
