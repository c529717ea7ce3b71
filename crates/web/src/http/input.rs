//! The body and the query of an API request.

use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, Ready, ready};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::http::problem::Problem;
use crate::openapi::misfits;

/// A JSON body. The error for an invalid one names each field that does not match the API's description.
pub struct Json<T>(pub T);

impl<T> Json<T> {
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = web::Json::<Box<RawValue>>::from_request(request, payload);
        let request = request.clone();
        async move {
            let body = body.await?.into_inner();
            let read = serde_json::from_str(body.get()).map(Self);
            let read = read.map_err(|_| Problem::misfits(misfits::of_body(&request, &body)))?;
            match misfits::arrays_for_objects(&request, &body) {
                arrays if arrays.is_empty() => Ok(read),
                arrays => Err(Problem::misfits(arrays).into()),
            }
        }
        .boxed_local()
    }
}

/// The parameters of the query.
pub struct Query<T>(T);

impl<T> Query<T> {
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Query<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = web::Query::<T>::from_query(request.query_string());
        let query = query.map(|query| Self(query.into_inner()));
        ready(query.map_err(|_| Problem::misfits(misfits::of_query(request))))
    }
}
