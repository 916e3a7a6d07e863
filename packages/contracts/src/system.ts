import { defineSystem } from "amqp-kit/contract";
import { addPatient } from "./add-patient.ts";
import { getPatient } from "./get-patient.ts";
import { patientAdded } from "./patient-added.ts";
import { scoreUpdates } from "./score-updates.ts";

/** The roles of each service. Its verbs and its declarations on the broker are derived from this. */
export const system = defineSystem({
  "score-producer": { broadcasts: [scoreUpdates] },
  "score-display": { listens: [scoreUpdates] },
  "add-patient-api": { requests: [addPatient, getPatient] },
  "patient-registry": { responds: [addPatient, getPatient], notifies: [patientAdded] },
  scheduling: { subscribes: [patientAdded] },
  reporting: { subscribes: [patientAdded] },
});
