// When the page is painted: at most once a frame, however much happens. What is painted is known
// to the parts that asked for it.

const painters = [];
let frame = 0;

// Have this called in each frame that is scheduled, after those that asked before.
export const onFrame = (paint) => { painters.push(paint); };

export const schedule = () => { if (!frame) frame = requestAnimationFrame(paintAll); };

function paintAll() {
  frame = 0;
  for (const paint of painters) paint();
}
