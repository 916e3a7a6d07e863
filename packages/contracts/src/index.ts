export { scoreUpdates, ScoreUpdate } from "./score-updates.ts";
export { patientAdded, PatientAdded } from "./patient-added.ts";
export { addPatient } from "./add-patient.ts";
export { getPatient } from "./get-patient.ts";
export { NewPatient, Patient, PatientRef } from "./patient.ts";
export { system } from "./system.ts";
