// What every contestant does in the same way: read the order, measure, print one line of JSON.

export const action = process.argv[2];
export const order = JSON.parse(process.argv[3] ?? "{}");
export const dsn = process.env.BENCHMARK_DSN;
export const payload = { user_id: 12345, action: "send_email", template: "welcome" };

export const cpu = () => {
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e6;
};

export const report = (found) => console.log(JSON.stringify(found));

// Counts handler calls; `done` resolves at the last one, `next()` at the next one.
export class Calls {
  constructor(most) {
    this.count = 0;
    this.waiter = null;
    this.done = new Promise((resolve) => {
      this.hit = () => {
        this.count += 1;
        this.waiter?.(performance.now());
        if (this.count === most) resolve(performance.now());
      };
    });
  }

  next() {
    return new Promise((resolve) => {
      this.waiter = resolve;
    });
  }
}

// Enqueue `most` jobs with `put(count)`, `batch` at a time.
export async function enqueue(put) {
  const began = performance.now();
  for (let at = 0; at < order.most; at += order.batch) await put(Math.min(order.batch, order.most - at));
  const seconds = (performance.now() - began) / 1000;
  report({ rate: order.most / seconds, cpu: cpu() });
}

// Wait for the last handler, then let `stop()` write what is still to be written.
export async function drain(calls, began, stop) {
  const before = cpu();
  const seconds = ((await calls.done) - began) / 1000;
  await stop();
  const whole = (performance.now() - began) / 1000;
  report({ rate: order.most / seconds, committed: order.most / whole, cpu: cpu() - before });
}

// Enqueue one job after the other into an idle queue, 20 to 50 ms apart; milliseconds from the call to the handler.
export async function latency(calls, put) {
  await pause(2000);
  const found = [];
  for (let at = 0; at < order.most; at += 1) {
    await pause(20 + Math.random() * 30);
    const started = calls.next();
    const began = performance.now();
    await put();
    found.push((await started) - began);
  }
  found.sort((one, other) => one - other);
  report({ p50: found[found.length >> 1], p99: found[Math.floor(found.length * 0.99)] });
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
