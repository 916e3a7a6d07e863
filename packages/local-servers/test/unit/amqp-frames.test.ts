import { describe, expect, test } from "vitest";
import { FrameReader } from "../../src/faults/amqp-frames.ts";

const header = Buffer.from("AMQP\0\0\x09\x01", "latin1");
/** basic.ack of delivery tag 1 on channel 3 */
const ack = Buffer.from([1, 0, 3, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xce]);
const heartbeat = Buffer.from([8, 0, 0, 0, 0, 0, 0, 0xce]);

describe("The frame reader", () => {
  test("reads type, channel and method of each frame", () => {
    const read = new FrameReader(false).read(Buffer.concat([ack, heartbeat]));
    expect(read).toMatchObject([
      { bytes: ack, frame: { type: "method", channel: 3, method: "60.80", size: 13, payload: ack.subarray(7, 20) } },
      {
        bytes: heartbeat,
        frame: { type: "heartbeat", channel: 0, method: undefined, size: 0, payload: Buffer.alloc(0) },
      },
    ]);
  });

  test("returns whole frames, however the bytes are split into chunks", () => {
    const all = Buffer.concat([header, ack, heartbeat, ack]);
    for (let length = 1; length <= all.length; length += 1) {
      const reader = new FrameReader(true);
      const found = [];
      for (let at = 0; at < all.length; at += length) found.push(...reader.read(all.subarray(at, at + length)));
      expect(found.map(({ bytes }) => bytes)).toEqual([header, ack, heartbeat, ack]);
    }
  });
});
