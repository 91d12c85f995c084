import type { HttpInterceptorFn } from "@angular/common/http";
import { from, switchMap } from "rxjs";
import { apiUrl, idToken } from "./amplify";

// provideHttpClient(withInterceptors([authorize]))
export const authorize: HttpInterceptorFn = (request, next) => {
  if (!request.url.startsWith(`${apiUrl}/`)) return next(request);
  return from(idToken()).pipe(
    switchMap((token) => next(request.clone({ setHeaders: { Authorization: `Bearer ${token}` } }))),
  );
};
