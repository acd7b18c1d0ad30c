// When the page is painted, however much happens: what the user does shows in the next frame, and
// what happens to things a few times a second. What is painted is known to the parts that asked
// for it.

const PAUSE = 250; // Between two times that what happens is painted, milliseconds.

const painters = [];
let frame = 0;
let timer = 0;
let painted = -Infinity; // When that was done last.

// Have this called in each frame that is scheduled, after those that asked before.
export const onFrame = (paint) => { painters.push(paint); };

// The user did something.
export const repaint = () => { if (!frame) frame = requestAnimationFrame(paintAll); };

// Something happened.
export function schedule() {
  if (frame || timer) return;
  const rest = painted + PAUSE - performance.now();
  if (rest <= 0) repaint();
  else timer = setTimeout(repaint, rest);
}

function paintAll() {
  clearTimeout(timer);
  frame = timer = 0;
  painted = performance.now();
  for (const paint of painters) paint();
}
