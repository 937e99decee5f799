//! The service, written as for any transport of tonic.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Result, Streaming, async_trait};

use super::routeguide::route_guide_server::RouteGuide;
use super::routeguide::{Feature, Point, Rectangle, RouteNote, RouteSummary};

pub(crate) struct Guide;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

#[async_trait]
impl RouteGuide for Guide {
    async fn get_feature(&self, request: Request<Point>) -> Result<Response<Feature>> {
        Ok(Response::new(feature(request.into_inner())))
    }

    type ListFeaturesStream = Responses<Feature>;

    async fn list_features(
        &self,
        request: Request<Rectangle>,
    ) -> Result<Response<Self::ListFeaturesStream>> {
        let area = request.into_inner();
        let (lo, hi) = (area.lo.unwrap_or_default(), area.hi.unwrap_or_default());
        let points = (lo.latitude..hi.latitude).map(move |latitude| Point { latitude, ..lo });
        let features = tokio_stream::iter(points.map(|it| Ok(feature(it))));
        Ok(Response::new(Box::pin(features)))
    }

    async fn record_route(
        &self,
        request: Request<Streaming<Point>>,
    ) -> Result<Response<RouteSummary>> {
        let (mut points, mut point_count) = (request.into_inner(), 0);
        while points.message().await?.is_some() {
            point_count += 1;
        }
        Ok(Response::new(RouteSummary { point_count }))
    }

    type RouteChatStream = Responses<RouteNote>;

    async fn route_chat(
        &self,
        request: Request<Streaming<RouteNote>>,
    ) -> Result<Response<Self::RouteChatStream>> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

fn feature(point: Point) -> Feature {
    let name = format!("place {}, {}", point.latitude, point.longitude);
    let location = Some(point);
    Feature { name, location }
}
