// Text, numbers, sizes and times as people read them. Whatever comes from the server passes
// through here before it is shown; nothing here knows what a thing or an event is.

// The scripts in which a joiner or a non-joiner between two letters is a part of the word.
const JOINED = ['Arab', 'Beng', 'Deva', 'Gujr', 'Guru', 'Knda', 'Mlym', 'Orya', 'Sinh', 'Syrc',
  'Taml', 'Telu'].map((script) => `\\p{scx=${script}}`).join('');

// Controls, line ends, what is drawn as nothing; but not what words in these scripts need, nor the
// sign that a symbol has colours.
const UNSEEN = new RegExp(
  `(?!(?<=[${JOINED}])[\\u200c\\u200d](?=[${JOINED}]))`
  + '[\\p{C}\\p{Zl}\\p{Zp}\\p{DI}\\u2800](?<!\\p{ExtPict}\\ufe0f)', 'gu');

// What is not seen, or turns the text around it, is shown as its number.
export function visible(text, keep = '') {
  const shown = String(text ?? '').replace(UNSEEN, (character) => {
    if (keep.includes(character)) return character;
    return `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
  return shown.trim() ? shown : '⟨blank⟩';
}

export function shortened(text, most) {
  const whole = String(text ?? '');
  if (whole.length <= most) return whole;
  const beginning = whole.slice(0, most).replace(/[\ud800-\udbff]$/, ''); // Half a character.
  const characters = whole.replace(/[\ud800-\udbff](?=[\udc00-\udfff])/g, '').length;
  return `${beginning} … (${count(characters)} characters)`;
}

const NUMBER = new Intl.NumberFormat('en');

export const count = (number) => NUMBER.format(Number(number ?? 0));
export const counted = (number, word) => `${count(number)} ${word}${number === 1 ? '' : 's'}`;

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  const hours = Math.floor(whole / 3600), days = Math.floor(hours / 24);
  if (hours < 10) return `${hours} h ${Math.floor(whole / 60) % 60} min`;
  if (hours < 48) return `${hours} h`;
  return days < 10 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function roundTrip(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  const milliseconds = seconds * 1000;
  if (milliseconds >= 9999.5) return `${seconds.toFixed(1)} s`;
  return `${milliseconds.toFixed(milliseconds < 9.95 ? 1 : 0)} ms`;
}

export function octets(number) {
  let rest = Number(number), unit = 0;
  if (!Number.isFinite(rest)) return '–';
  while (rest >= 999.5 && unit < 4) { rest /= 1000; unit += 1; }
  return `${rest.toFixed(unit && rest < 9.95 ? 1 : 0)} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`;
}

const LATEST = 8.64e12; // Of what JavaScript takes for a time of day, seconds.

// To make one takes longer than all that it does.
const times = (options) => {
  const format = new Intl.DateTimeFormat('en-GB', {hour12: false, ...options});
  const isTime = (seconds) => Number.isFinite(seconds) && Math.abs(seconds) <= LATEST;
  return (seconds) => isTime(seconds) ? format.format(seconds * 1000) : '–';
};

export const timeOfDay = times({hour: '2-digit', minute: '2-digit', second: '2-digit'});
export const hourAndMinute = times({hour: '2-digit', minute: '2-digit'});
export const dateAndTime = times({dateStyle: 'medium', timeStyle: 'medium'});
