import { NewPatient, Patient } from "@amqp-idioms/contracts";
import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";

/** Problem details (RFC 9457), with further members allowed. */
export const Problem = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  code: z.string(),
  errors: z.array(z.object({ path: z.string(), rule: z.string() })).optional(),
});

/** Serves `/openapi.json`, which documents the routes that are registered afterwards. */
export async function documentRoutes(http: FastifyInstance): Promise<void> {
  const schemaRegistry = z.registry<{ id: string }>();
  schemaRegistry.add(NewPatient, { id: "NewPatient" });
  schemaRegistry.add(Patient, { id: "Patient" });
  schemaRegistry.add(Problem, { id: "Problem" });
  await http.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "add-patient-api",
        version: "1",
        description: "Registers patients. There is no user authentication.",
      },
    },
    transform: createJsonSchemaTransform({ schemaRegistry }),
    transformObject: createJsonSchemaTransformObject({ schemaRegistry }),
  });
  http.get("/openapi.json", { schema: { hide: true } }, async () => http.swagger());
}
