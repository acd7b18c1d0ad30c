// What the browser keeps for the page. It may refuse to: then nothing is kept, and all else works.

// storage gives the browser's; to ask for it fails where the user forbids it.
export const storeOf = (storage) => ({
  read(key) {
    try { return storage().getItem(key); } catch { return null; }
  },
  write(key, text) {
    try {
      if (text === null) storage().removeItem(key);
      else storage().setItem(key, text);
    } catch { /* It is full, or forbidden. */ }
  },
});
