import { adapterContract, type Service } from '../contracts/adapter/index.js';
import { adapterAuthCases } from '../contracts/auth-cases.js';
import { edgeCases } from '../contracts/edge-cases.js';
import { refundCases } from '../contracts/refunds.js';
import { signedRequestCases } from '../contracts/signed-request.js';
import { uploadContract } from '../contracts/upload.js';
import { uploadLoad } from '../contracts/upload-load.js';
import { serveWeb } from '../web-server.js';
import { webApp } from './web-app.js';

const serve = Object.assign(async (service: Service) => serveWeb(webApp(service)), { isWeb: true as const });

adapterContract('web', serve);
adapterAuthCases('web', serve);
signedRequestCases('web', serve);
refundCases('web', serve);
edgeCases('web', serve);
uploadContract('web', serve);
uploadLoad('web', serve);
