// graphile-worker: `local` is the size of its local queue (0: none), `delay` the delay of its completion batches in ms.

import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import { action, Calls, drain, dsn, enqueue, latency, order, payload } from "./contest.mjs";

process.env.NO_LOG_SUCCESS = "1";
const logger = new Logger(() => () => {});
const pool = new pg.Pool({ connectionString: dsn, max: 4 });

if (action === "setup") {
  const tools = await makeWorkerUtils({ connectionString: dsn, logger });
  await tools.migrate();
  await tools.release();
} else if (action === "enqueue") {
  const many =
    "select 1 from graphile_worker.add_jobs(" +
    "array(select json_populate_recordset(null::graphile_worker.job_spec, $1::json)))";
  await enqueue((count) => {
    const jobs = Array.from({ length: count }, () => ({ identifier: "noop", payload }));
    return pool.query(many, [JSON.stringify(jobs)]);
  });
} else {
  const calls = new Calls(order.most);
  const batches = order.local
    ? {
        localQueue: { size: order.local, ...(order.delay ? {} : { refetchDelay: { durationMs: 10 } }) },
        completeJobBatchDelay: order.delay,
        failJobBatchDelay: order.delay,
      }
    : {};
  const worker = {
    connectionString: dsn,
    concurrentJobs: 24,
    maxPoolSize: 25,
    pollInterval: 2000,
    gracefulShutdownAbortTimeout: 2500,
    logger,
    ...batches,
  };
  const began = performance.now();
  const runner = await run({ preset: { worker }, taskList: { noop: async () => calls.hit() }, noHandleSignals: true });
  if (action === "drain") {
    await drain(calls, began, () => runner.stop());
  } else {
    await latency(calls, () =>
      pool.query("select graphile_worker.add_job('noop', $1::json)", [JSON.stringify(payload)]),
    );
    await runner.stop();
  }
}
await pool.end();
process.exit(0);
