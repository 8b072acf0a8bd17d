// Takes one host over with the generated client and prints what it saw as JSON.
import { Buffer } from "node:buffer";
import process from "node:process";
import { client } from "./client/client.gen";
import {
  downloadDiagnosis,
  followTaskInstance,
  getSubtaskLog,
  getTaskInstance,
  listClusters,
  takeOver,
} from "./client/sdk.gen";
import type { WrappedTaskInstance } from "./client/types.gen";

const { URL: baseUrl, PASSWORD: password, HOST_ID: hostId, SQL_PORT: sqlPort } = process.env;

client.setConfig({ baseUrl: baseUrl ?? "", auth: `admin:${password}` });

const follow = async (taskInstanceId: number): Promise<string[]> => {
  const statuses: string[] = [];
  const ended = new AbortController();
  const { stream } = await followTaskInstance({
    path: { taskInstanceId },
    signal: ended.signal,
    onSseEvent: ({ event, data }) => {
      if (event === "task") {
        const { status } = data as unknown as WrappedTaskInstance;
        statuses.push(status);
        if (status !== "RUNNING") {
          ended.abort();
        }
      }
    },
  });
  for await (const _ of stream) {
    // The callback has seen the event.
  }
  return statuses;
};

const main = async (): Promise<void> => {
  const clusters = await listClusters({ throwOnError: true });
  const submitted = await takeOver({
    path: { id: clusters.data.data.contents[0].id },
    body: { hosts: [{ hostId: Number(hostId), sqlPort: Number(sqlPort) }] },
    throwOnError: true,
  });
  const taskInstanceId = submitted.data.data.contents[0].id;
  const statuses = await follow(taskInstanceId);
  const path = { taskInstanceId };
  const { data: task } = (await getTaskInstance({ path, throwOnError: true })).data;
  const subtaskInstanceId = task.subtasks[0].id;
  const log = await getSubtaskLog({ path: { taskInstanceId, subtaskInstanceId }, throwOnError: true });
  const diagnosis = await downloadDiagnosis({ path, throwOnError: true, parseAs: "arrayBuffer" });
  const unknown = await getTaskInstance({ path: { taskInstanceId: 2 ** 53 - 1 } });
  process.stdout.write(
    JSON.stringify({
      statuses,
      status: task.status,
      subtasks: task.subtasks.length,
      log: log.data.data.log,
      diagnosis: Buffer.from(diagnosis.data as unknown as ArrayBuffer).toString("hex"),
      unknown: unknown.error?.error.code,
    }),
  );
};

void main();
